"""An ONNX file again, with int8 weights: a quarter of its size, and faster where it pays."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from perception.errors import ExportError
from perception.export.onnx_file import Case, run_file, run_module
from perception.formats.atomic import part_of

LEAST_COSINE = 0.998
"""Of the outputs with torch's. Int8 answers differ by more than rounding, so they are compared by
direction. Masks of an embedding at 0.9998 overlap those of fp32 by 0.99 and more.
"""


def write_int8(
    source: Path, path: Path, module: nn.Module, cases: Sequence[Case], *, outputs: Sequence[str]
) -> float:
    """Writes ``source`` with int8 weights to ``path``; returns its least cosine with torch.

    Each output channel of a weight has its own scale; activations are scaled as they come, so no
    pictures are needed to calibrate. Products of two activations, as in attention, stay fp32.
    Raises ExportError, and leaves nothing behind, where an answer is below ``LEAST_COSINE``. On a
    processor without VNNI (or its like on ARM) sums of products can saturate: then it refuses, too.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises by the root logger to prepare the file; what it advises changes nothing here.
    logging.disable(logging.WARNING)
    try:
        with part_of(path) as part:
            quantize_dynamic(
                source,
                part,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul", "Gemm"],
                extra_options={"MatMulConstBOnly": True},
            )
            least = _least_cosine(part, module, cases, outputs, path.name)
            if not least >= LEAST_COSINE:  # nan is refused as well
                raise ExportError(
                    f"{path.name}: with int8 weights the answers agree with torch's to a cosine of "
                    f"{least:.6f}, at least {LEAST_COSINE} is wanted: nothing was written"
                )
    finally:
        logging.disable(logging.NOTSET)
    return least


def _least_cosine(
    path: Path, module: nn.Module, cases: Sequence[Case], outputs: Sequence[str], name: str
) -> float:
    with torch.inference_mode(False), torch.no_grad():
        wanted = [run_module(module.eval(), case) for case in cases]
    least = 1.0
    for have, want in zip(run_file(path, cases, outputs, name), wanted, strict=True):
        for ours, theirs in zip(have, want, strict=True):
            a, b = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
            least = float(np.minimum(least, a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    return least
