"""The detector that ``perception export`` has written into a folder, whatever its family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perception.detector.protocol import Detector
from perception.errors import WeightsError
from perception.images import printable

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
        from perception.detector.owlv2_onnx import OnnxOwlv2

        return OnnxOwlv2(*found.paths, threads=threads, device=device)
    if found.kind == "boxes.onnx":
        from perception.detector.omdet_turbo_onnx import OnnxOmDetTurbo

        return OnnxOmDetTurbo(*found.paths, threads=threads, device=device)
    from perception.detector.grounding_dino_onnx import OnnxGroundingDino

    return OnnxGroundingDino(*found.paths, threads=threads, device=device)
