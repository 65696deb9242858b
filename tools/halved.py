"""Half the bytes, the same numbers: weights that are exact in half precision, in every file.

An exporter folds batch normalisations into the convolutions before them, and the products have more
digits than half precision holds. So they are folded first, then rounded: the convolutions of the
network, of its safetensors and of its ONNX files have the very same numbers.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

LEAST_VALUES = 256  # of a weight that is stored by halves; of fewer, nothing is gained
LEAST_SCALE = 2.0**-6  # of a folded normalisation: its square is well above the usual eps


def halve(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in half precision; vectors, among them variances, as they are."""
    return {
        name: value.half() if value.is_floating_point() and value.ndim > 1 else value
        for name, value in weights.items()
    }


@torch.no_grad()
def fold_norms(network: nn.Module) -> None:
    """Moves the scale of each batch normalisation into the convolution before it.

    In evaluation the network is what it was, and each normalisation scales by exactly 1; in
    training it goes on as before, because a channel's learned scale stays what its batch is
    normalized to.
    """
    for block in network.modules():
        if isinstance(block, nn.Sequential):
            for conv, norm in pairwise(block):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    _fold(conv, norm)


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = norm.weight / (variance + norm.eps).sqrt()
    conv.weight *= scale[:, None, None, None]
    if conv.bias is not None:
        conv.bias *= scale
    mean *= scale
    # Squares of halves are exact in single precision, and so are their roots.
    kept = norm.weight.abs().clamp(min=LEAST_SCALE).half().float()
    norm.weight.copy_(kept)
    variance.copy_(_less(kept * kept, norm.eps))


def _less(sums: Tensor, eps: float) -> Tensor:
    """The numbers to which eps is added to give exactly these sums in single precision."""
    near = sums - eps
    for way in (-torch.inf, torch.inf):
        beside = torch.nextafter(sums - eps, torch.full_like(sums, way))
        near = torch.where(near + eps == sums, near, beside)
    return near


def store_halves(path: Path) -> None:
    """Stores the weights of an ONNX file that are exact in half precision as such.

    A Cast node makes each one single again, which ONNX Runtime does once, when it opens the file.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    graph = model.graph
    casts = []
    for stored in list(graph.initializer):
        values = numpy_helper.to_array(stored)
        if values.dtype != np.float32 or values.size < LEAST_VALUES:
            continue
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.array_equal(halves.astype(np.float32), values):
            continue
        name = f"{stored.name}.half"
        casts.append(helper.make_node("Cast", [name], [stored.name], to=TensorProto.FLOAT))
        graph.initializer.remove(stored)
        graph.initializer.append(numpy_helper.from_array(halves, name))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, path)
