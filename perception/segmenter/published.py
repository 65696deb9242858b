"""Published segmenters by family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from perception.errors import WeightsError
from perception.images import printable
from perception.segmenter.levels_segmenter import LevelsSegmenter
from perception.segmenter.load import load_sam
from perception.segmenter.pretrained import load_pretrained
from perception.segmenter.protocol import Segmenter
from perception.segmenter.sam2 import Sam2
from perception.segmenter.sam_hq import SamHq
from perception.segmenter.torch_segmenter import TorchSegmenter
from perception.segmenter.two_way import check_numbers

SAM2_CLASSES = {"sam2": "Sam2Model", "sam2_video": "Sam2VideoModel"}
"""The hub's folders hold the network for videos, of which a picture needs a part."""


def load_segmenter(
    family: str,
    path: str | Path,
    *,
    name: str,
    version: str = "",
    device: str = "cpu",
    precision: str = "fp32",
) -> Segmenter:
    """The published segmenter in ``path``.

    family: "sam" (a checkpoint as published, or as transformers saves it), "sam-hq" or "sam2",
    which is 2.1 as well (folders as transformers saves them). name, version: of the model, see
    ``TorchSegmenter``; device: "cpu", "cuda", "cuda:N" or "mps"; precision: "fp32", "bf16" or
    "fp16", of the image encoder.

    Raises WeightsError for files that are missing, damaged or of another model,
    MissingExtraError for transformers that doesn't know the family, ValueError for a family that
    isn't one of these.
    """
    if family == "sam":
        return TorchSegmenter(
            load_sam(path), name=name, version=version, device=device, precision=precision
        )
    if family not in _LOADERS:
        raise ValueError(f"a segmenter's family is sam, {', '.join(_LOADERS)}; got {family!r}")
    network = _LOADERS[family](Path(path)).eval().to(device)
    return LevelsSegmenter(
        network,  # type: ignore[arg-type]  # a module that is a LevelsNetwork
        name=name,
        version=version,
        device=device,
        precision=precision,
    )


def load_sam2(folder: Path) -> nn.Module:
    """The ``Sam2`` in a folder; raises as ``load_segmenter``."""
    network: Any = load_pretrained(folder, SAM2_CLASSES, family="SAM 2")
    check_numbers(network.config.mask_decoder_config, printable(str(folder)))
    if network.config.vision_config.num_feature_levels != 3:
        raise WeightsError(f"{printable(str(folder))}: expected 3 levels of features, as published")
    return Sam2(network, Levels(network.vision_encoder))


def load_sam_hq(folder: Path) -> nn.Module:
    """The ``SamHq`` in a folder; raises as ``load_segmenter``."""
    network: Any = load_pretrained(folder, {"sam_hq": "SamHQModel"}, family="SAM-HQ")
    check_numbers(network.config.mask_decoder_config, printable(str(folder)), hidden_act="relu")
    return SamHq(network)


class Levels(nn.Module):
    """Pixels -> the feature pyramid of one of transformers' image encoders."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Any) -> tuple[Any, ...]:
        """B x 3 x S x S -> levels B x C x h x w, from fine to coarse."""
        levels: tuple[Any, ...] = self.encoder(pixels).fpn_hidden_states
        return levels


_LOADERS: dict[str, Callable[[Path], nn.Module]] = {"sam-hq": load_sam_hq, "sam2": load_sam2}
