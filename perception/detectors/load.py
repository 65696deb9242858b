"""Loading detectors: published folders by family, and exported ones."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perception.detectors.protocol import Detector
from perception.errors import MissingExtraError, WeightsError
from perception.imaging.read import printable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


FAMILIES = ("grounding-dino", "mm-grounding-dino", "omdet-turbo", "owlv2")
"""LLMDet is of the family mm-grounding-dino: the same network, trained further."""

PRECISIONS = ("fp32", "bf16", "fp16")


def load_detector(
    family: str,
    folder: str | Path,
    *,
    name: str,
    device: str = "cpu",
    precision: str = "fp32",
) -> Detector:
    """The detector in a folder with config.json, model.safetensors, preprocessing and tokenizer.

    family: one of ``FAMILIES``; name: what results call it; device: as torch names it; precision:
    of the matrix products, "fp32", "bf16" or "fp16". Weights and coordinates stay float32.
    Raises WeightsError when the folder doesn't hold such a model, whole and sound, and
    MissingExtraError without the packages that it needs.
    """
    if family not in FAMILIES:
        near = difflib.get_close_matches(family, FAMILIES, n=1) or FAMILIES
        raise WeightsError(f'no detector is of the family "{family}"; there are: {", ".join(near)}')
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
    folder = Path(folder)
    if not folder.is_dir():
        raise WeightsError(f"{printable(str(folder))}: no such folder")
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            f'{name} needs torch and transformers: pip install "perception-masks[torch]"'
        ) from None
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return _LOADERS[family](folder, name, device, dtype)


def _load_grounding_dino(folder: Path, name: str, device: str, dtype: torch.dtype) -> Detector:
    from transformers import GroundingDinoForObjectDetection

    return _grounding_dino(GroundingDinoForObjectDetection, folder, name, device, dtype)


def _load_mm_grounding_dino(folder: Path, name: str, device: str, dtype: torch.dtype) -> Detector:
    from transformers import MMGroundingDinoForObjectDetection

    return _grounding_dino(MMGroundingDinoForObjectDetection, folder, name, device, dtype)


def _grounding_dino(
    kind: type[PreTrainedModel], folder: Path, name: str, device: str, dtype: torch.dtype
) -> Detector:
    from perception.detectors.grounding_dino.detector import GroundingDinoDetector
    from perception.detectors.grounding_dino.network import GroundingDino, make_faster
    from perception.detectors.pretrained import load_image_processor, load_network, load_tokenizer

    network = load_network(kind, folder).to(device)  # type: ignore[arg-type]
    make_faster(network)
    return GroundingDinoDetector(
        GroundingDino(network, dtype=dtype),
        load_tokenizer(folder, network),
        load_image_processor(folder),
        name=name,
    )


def _load_owlv2(folder: Path, name: str, device: str, dtype: torch.dtype) -> Detector:
    from transformers import Owlv2ForObjectDetection

    from perception.detectors.owlv2.detector import Owlv2Detector
    from perception.detectors.pretrained import load_image_processor, load_network, load_tokenizer

    network = load_network(Owlv2ForObjectDetection, folder)
    return Owlv2Detector(
        network.to(device),  # type: ignore[arg-type]
        load_tokenizer(folder, network),
        load_image_processor(folder),
        name=name,
        dtype=dtype,
    )


def _load_omdet_turbo(folder: Path, name: str, device: str, dtype: torch.dtype) -> Detector:
    from transformers import OmDetTurboForObjectDetection

    from perception.detectors.omdet_turbo.detector import OmDetTurbo, OmDetTurboDetector
    from perception.detectors.pretrained import load_image_processor, load_network, load_tokenizer

    network = load_network(OmDetTurboForObjectDetection, folder).to(device)  # type: ignore[arg-type]
    return OmDetTurboDetector(
        OmDetTurbo(network, dtype=dtype),
        load_tokenizer(folder, network),
        load_image_processor(folder),
        name=name,
    )


_LOADERS: dict[str, Callable[[Path, str, str, torch.dtype], Detector]] = {
    "grounding-dino": _load_grounding_dino,
    "mm-grounding-dino": _load_mm_grounding_dino,
    "omdet-turbo": _load_omdet_turbo,
    "owlv2": _load_owlv2,
}


SETS = {
    "fusion.onnx": ("text.onnx", "image.onnx", "fusion.onnx", "vocab.txt"),
    "patches.onnx": ("text.onnx", "patches.onnx", "vocab.json"),
    "boxes.onnx": ("text.onnx", "image.onnx", "boxes.onnx", "vocab.json"),
}
"""The files of Grounding DINO, OWLv2 and OmDet-Turbo, NAME- before each, by the one that tells."""


@dataclass(frozen=True)
class Exported:
    """kind: which of ``SETS``; paths: of its files, in their order."""

    kind: str
    paths: tuple[Path, ...]


def find_exported(folder: Path) -> Exported:
    """The files of the folder's detector.

    Raises WeightsError where there is none, or more than one, or where one of its files is missing.
    """
    shown = printable(str(folder))
    found = [(kind, path) for kind in SETS for path in sorted(folder.glob(f"*-{kind}"))]
    if len(found) != 1:
        telling = " or ".join(f"NAME-{kind}" for kind in SETS)
        raise WeightsError(
            f"{shown}: expected one exported detector, a {telling} and its other files, there are "
            f"{len(found)}; export one detector into a folder of its own"
        )
    ((kind, path),) = found
    prefix = path.name.removesuffix(kind)
    paths = tuple(folder / f"{prefix}{name}" for name in SETS[kind])
    missing = [one.name for one in paths if not one.is_file()]
    if missing:
        raise WeightsError(
            f"{shown}: has no {printable(', '.join(missing))}, which belongs to "
            f"{printable(path.name)}: copy it there, or export the model again"
        )
    return Exported(kind, paths)


def load_exported(folder: Path, *, threads: int = 0, device: str = "auto") -> Detector:
    """The detector in a folder; raises WeightsError and DeviceError as the detectors do."""
    found = find_exported(folder)
    if found.kind == "patches.onnx":
        from perception.detectors.owlv2.onnx import OnnxOwlv2

        return OnnxOwlv2(*found.paths, threads=threads, device=device)
    if found.kind == "boxes.onnx":
        from perception.detectors.omdet_turbo.onnx import OnnxOmDetTurbo

        return OnnxOmDetTurbo(*found.paths, threads=threads, device=device)
    from perception.detectors.grounding_dino.onnx import OnnxGroundingDino

    return OnnxGroundingDino(*found.paths, threads=threads, device=device)
