"""Loading segmenters: checkpoints and published folders, strictly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perception.checkpoints.state_dict import misfits, read_state_dict
from perception.checkpoints.transformers_layout import (
    is_transformers_layout,
    load_pretrained,
    spelling,
    transformers_name,
    without_twin,
)
from perception.errors import WeightsError
from perception.imaging.read import printable
from perception.segmenters.multi_scale import LevelsSegmenter, check_numbers
from perception.segmenters.protocol import Segmenter
from perception.segmenters.sam.network import (
    Sam,
    build_nano,
    build_nano2,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
)
from perception.segmenters.sam2 import Sam2
from perception.segmenters.sam_hq import SamHq
from perception.segmenters.torch_segmenter import TorchSegmenter

POSITION = "image_encoder.pos_embed"
BUILDERS = {768: build_sam_vit_b, 1024: build_sam_vit_l, 1280: build_sam_vit_h}
"""The published networks by the width of their transformer."""


def load_sam(path: str | Path) -> Sam:
    """The published SAM network (ViT-B, L or H) whose weights are in ``path``.

    Either the published checkpoint (.pth or .safetensors), or what transformers' ``SamModel``
    saves: a .safetensors or .bin file, or its folder, in one file or in shards.

    Raises WeightsError when the file is missing, damaged or holds anything else.
    """
    weights = read_state_dict(path)
    spell: Callable[[str], str] = str
    if is_transformers_layout(weights):
        weights = without_twin(weights, path)
        spell = spelling(weights)
    return build_with_weights(_builder(weights, spell, path), weights, path, spell=spell)


def load_nano(path: str | Path, *, side: int = 320) -> Sam:
    """The nano network in ``path`` for a side x side input, of either generation.

    Raises WeightsError as ``load_sam``.
    """
    weights = read_state_dict(path)
    return build_with_weights(nano_builder(weights, side), weights, path)


def nano_builder(weights: dict[str, Tensor], side: int) -> Callable[[], Sam]:
    """What builds the nano network whose weights these are: the second generation has a trunk."""
    has_trunk = any(name.startswith("image_encoder.trunk.") for name in weights)
    return lambda: build_nano2(side) if has_trunk else build_nano(side)


def build_with_weights(
    build: Callable[[], Sam],
    weights: dict[str, Tensor],
    path: str | Path,
    *,
    spell: Callable[[str], str] = str,
) -> Sam:
    """The network that ``build`` makes, with these weights as float32.

    spell: a key of the network -> its name in the weights.

    Raises WeightsError that names the missing, unknown and wrongly shaped keys as the file does.
    """
    with torch.device("meta"):  # random weights that are thrown away cost seconds and gigabytes
        sam = build()
    wanted = sam.state_dict()
    names = {key: spell(key) for key in wanted}
    faults = _faults({names[key]: value.shape for key, value in wanted.items()}, weights)
    if faults:
        raise WeightsError(f"{path}: its weights don't fit the network: {faults}")
    typed = {key: weights[names[key]].to(value.dtype) for key, value in wanted.items()}
    sam.load_state_dict(typed, strict=True, assign=True)
    return sam.eval()


def _faults(wanted: dict[str, torch.Size], weights: dict[str, Tensor]) -> str:
    """What is missing, unknown and wrongly shaped in the weights, in one line; "" where all fit."""
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(shape)}"
        for name, shape in wanted.items()
        if name in weights and weights[name].shape != shape
    ]
    return misfits(
        {
            "missing": [name for name in wanted if name not in weights],
            "unknown": [name for name in weights if name not in wanted],
            "wrong shape": shapes,
        }
    )


def _builder(
    weights: dict[str, Tensor], spell: Callable[[str], str], path: str | Path
) -> Callable[[], Sam]:
    """The builder of the published network that has the width of these weights."""
    position = weights.get(spell(POSITION))
    if position is None:
        raise WeightsError(
            f"{path}: not a SAM checkpoint: it has no {POSITION} (in transformers' layout "
            f"{transformers_name(POSITION)}), its keys start with " + ", ".join(sorted(weights)[:3])
        )
    width = position.shape[-1] if position.ndim else 0
    if width not in BUILDERS:
        known = ", ".join(str(n) for n in BUILDERS)
        raise WeightsError(
            f"{path}: a SAM network of width {width}; the published ones are {known}"
        )
    return BUILDERS[width]


SAM2_CLASSES = {"sam2": "Sam2Model", "sam2_video": "Sam2VideoModel"}
"""The hub's folders hold the network for videos, of which an image needs a part."""


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
