"""Loading models by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perception.checkpoints.catalog import FAMILIES, Role, read_manifest
from perception.checkpoints.installed import find, locate, missing, sha256_of
from perception.checkpoints.lock import sha256_of_file
from perception.checkpoints.verify import installed_path
from perception.checks import checked_count
from perception.defaults import AUTO, MODEL, THREADS
from perception.detectors.protocol import Detector
from perception.errors import DeviceError, MissingExtraError, WeightsError
from perception.imaging.read import printable
from perception.models.missing import MissingDetector, MissingSegmenter
from perception.models.model import Model
from perception.models.names import EXPORTED, Part, find_parts, with_exported_segmenter
from perception.predictor.everything_settings import MaskLimits
from perception.predictor.protocol import MaskPredictor
from perception.predictor.whole import WholeImagePredictor
from perception.predictor.zoom import ZoomPredictor
from perception.runtime.device import (
    check_device,
    check_precision,
    limit_torch_threads,
    torch_device,
    torch_precision,
)
from perception.segmenters.protocol import Segmenter

if TYPE_CHECKING:
    from perception.sam3.model import Sam3

_NANO_FILES = {
    Role.DETECTOR: (
        "nano-detector-text.onnx",
        "nano-detector-image.onnx",
        "nano-detector-vocab.txt",
        "nano-detector-photo.onnx",
        "nano-detector-names.zip",
    ),
    Role.SEGMENTER: (
        "nano-segmenter-encoder.onnx",
        "nano-segmenter-preparer.onnx",
        "nano-segmenter-decoder.onnx",
    ),
}
_ONNX_PARTS = ("encoder", "preparer", "decoder")
_WEIGHTS = (".safetensors", ".pth", ".pt", ".bin", ".onnx")
_PREDICTORS: dict[str, Callable[[Segmenter], MaskPredictor]] = {
    WholeImagePredictor.kind: WholeImagePredictor,
    ZoomPredictor.kind: ZoomPredictor,
}
_VERSION = 12  # Digits of a sha256 that tell one set of weights from another.


@dataclass(frozen=True)
class _Where:
    """device: as torch names it; precision: "fp32", "bf16" or "fp16"; onnx: for ONNX Runtime."""

    device: str
    precision: str
    onnx: str
    threads: int


def load(
    name: str | os.PathLike[str] = MODEL,
    *,
    segmenter: str | os.PathLike[str] | None = None,
    device: str = AUTO,
    precision: str = AUTO,
    threads: int = THREADS,
) -> Model:
    """A model by name.

    name: "nano", which is embedded, for drawn things and simple cases; a preset ("base", "large",
    "sam3"); DETECTOR+SEGMENTER, such as "grounding-dino-tiny+sam-vit-b" or "nano+sam-vit-b"; one of
    them alone, for what it can do; a file or a folder can take the place of either. Nothing is
    downloaded: that is what ``perception weights pull`` is for.
    segmenter: a folder of exported files, whose segmenter takes the place of the name's.
    device: "auto", "cpu", "cuda", "cuda:N" or "mps"; precision: "auto", "fp32", "bf16" or "fp16";
    see ``perception.runtime.device``. Both are for what torch runs: beside it, nano goes to the CPU
    where its runtime has no such device. threads: CPU threads to use; 0 means all the cores that
    this process may use. They are the model's own: other models, and what else the process computes
    with torch, keep theirs.

    Raises WeightsError for an unknown name, and for files that are missing, damaged or of another
    model; DeviceError for a device that isn't there; MissingExtraError without torch where it is
    needed.
    """
    name = _checked_path("a model is loaded by", name)
    checked_count("threads", threads, 0, DeviceError)
    parts = find_parts(name)
    if segmenter is not None:
        folder = _checked_path("segmenter is a folder of exported files, given by", segmenter)
        parts = with_exported_segmenter(parts, Path(folder))
    _check_there(parts)
    places = [_place(part) for part in parts]
    where = _where(name, parts, check_device(device), check_precision(precision), threads)
    detects: Detector | None = None
    segments: Segmenter | None = None
    weights: dict[str, str] = {}
    for part, (path, sums) in zip(parts, places, strict=True):
        weights |= sums
        if part.role is Role.BOTH:
            detects = segments = _both(part, path, where, _version(sums))
        elif part.role is Role.DETECTOR:
            detects = _detector(part, path, where)
        else:
            segments = _segmenter(part, path, where, _version(sums))
    return Model(
        detector=detects or MissingDetector(parts[0].name),
        predictor=_predictor(segments or MissingSegmenter(parts[0].name), parts),
        weights=weights,
        precision=where.precision,
        limits=_limits(segments),
    )


def _predictor(segmenter: Segmenter, parts: tuple[Part, ...]) -> MaskPredictor:
    """The predictor that a segmenter's spec names: that of its files, or of its family."""
    from perception.segmenters.sam.onnx import OnnxSegmenter

    if isinstance(segmenter, OnnxSegmenter):
        kind = segmenter.metadata.predictor
    else:
        kinds = [FAMILIES[part.family].predictor for part in parts if part.family in FAMILIES]
        kind = kinds[-1] if kinds else WholeImagePredictor.kind
    if kind not in _PREDICTORS:
        raise WeightsError(
            f"{segmenter.name}: its files ask for a predictor {kind!r} that this version hasn't; "
            "install a newer perception, or export them again"
        )
    return _PREDICTORS[kind](segmenter)


def _checked_path(what: str, name: object) -> str:
    if isinstance(name, (str, os.PathLike)):
        return os.fsdecode(name)
    raise WeightsError(f'{what} its name, such as "{MODEL}", or its path, got {name!r}')


def for_cluster(name: str, device: str, precision: str) -> tuple[bool, str]:
    """Whether a device of "auto" could be a GPU on some machine, and the precision for all of them.

    The precision is what "auto" gives on this machine: the models of a cluster must be equal,
    whatever each of its machines has. Raises as ``load``.
    """
    if all(_runs_on_onnx(part) for part in find_parts(name)):
        from perception.runtime.onnx_session import has_cuda

        return has_cuda(), precision
    try:
        import torch

        chosen = torch_precision(precision, torch_device(device))
    except ImportError:
        return False, precision  # Loading it says what is missing.
    return torch.version.cuda is not None, chosen


def _limits(segments: Segmenter | None) -> MaskLimits:
    """What suits a segmenter, by the name that it keeps when it is exported."""
    known = read_manifest()
    name = segments.name if segments else ""
    entry = known.get(name) or known.get(f"{name}-{Role.SEGMENTER.value}")
    return MaskLimits(**entry.everything) if entry else MaskLimits()


def _check_there(parts: tuple[Part, ...]) -> None:
    """Says what is missing, all at once, before anything is read."""
    published = [part.entry for part in parts if part.entry and not part.entry.is_embedded]
    absent = [entry for entry in published if find(entry) is None]
    if absent:
        raise missing(absent)


def _place(part: Part) -> tuple[Path, dict[str, str]]:
    """Where a part's files are, and what is to be noted of them: sha256 by name."""
    if part.path is not None:
        return part.path, _of_local(part, part.path)
    if part.entry is None:
        raise ValueError(f"{part.name}: neither a row of the manifest nor a path")
    if part.entry.is_embedded:
        names = _NANO_FILES[part.role]
        return locate(names[0]).parent, sha256_of(names)
    path, sums = installed_path(part.entry)
    return path, sums if path.is_file() else _noted(part.name, sums)


def _of_local(part: Part, path: Path) -> dict[str, str]:
    """The sha256 of the weights in a file or a folder of the user's."""
    try:
        if part.family == EXPORTED:
            files = _exported_files(path, part.role)
        else:
            files = [path] if path.is_file() else sorted(path.iterdir())
        sums = {one.name: sha256_of_file(one) for one in files if one.suffix in _WEIGHTS}
    except OSError as error:
        raise WeightsError(f"{printable(str(path))}: can't be read ({error.strerror})") from None
    return sums if path.is_file() else _noted(part.name, sums)


def _noted(name: str, sums: Mapping[str, str]) -> dict[str, str]:
    """Of the files in a model's folder those with weights: "model.safetensors" says nothing."""
    return {f"{name}/{file}": one for file, one in sums.items() if file.endswith(_WEIGHTS)}


def _version(sums: Mapping[str, str]) -> str:
    return " ".join(digest[:_VERSION] for digest in sums.values())


def _runs_on_onnx(part: Part) -> bool:
    return part.family == EXPORTED or (part.entry is not None and part.entry.is_embedded)


def _where(name: str, parts: tuple[Part, ...], device: str, precision: str, threads: int) -> _Where:
    if all(_runs_on_onnx(part) for part in parts):
        if precision not in (AUTO, "fp32"):
            raise DeviceError(
                f"{name} computes in fp32 as its files do; --precision {precision} is for models "
                "that torch runs"
            )
        return _Where("cpu", "fp32", device, threads)
    try:
        at = torch_device(device)
    except ImportError:
        raise MissingExtraError(
            f"{name} needs torch: pip install 'perception-masks[torch]'"
        ) from None
    return _Where(at, torch_precision(precision, at), _beside(at), threads)


def _beside(device: str) -> str:
    """Where ONNX Runtime computes beside torch: on the same device, if it can."""
    from perception.runtime.onnx_session import has_cuda

    return device if device.startswith("cuda") and has_cuda() else "cpu"


def _detector(part: Part, path: Path, where: _Where) -> Detector:
    if part.family == EXPORTED:
        from perception.detectors.load import load_exported

        return load_exported(path, threads=where.threads, device=where.onnx)
    if _runs_on_onnx(part):
        from perception.detectors.nano.onnx import NanoDetector

        files = [locate(file) for file in _NANO_FILES[Role.DETECTOR]]
        return NanoDetector(*files, threads=where.threads, device=where.onnx)
    from perception.detectors.load import load_detector

    detector = load_detector(
        part.family, path, name=part.name, device=where.device, precision=where.precision
    )
    limit_torch_threads(detector, where.threads)
    return detector


def _both(part: Part, path: Path, where: _Where, version: str) -> Sam3:
    from perception.sam3.model import load_sam3

    return load_sam3(
        path,
        name=part.name,
        version=version,
        device=where.device,
        precision=where.precision,
        threads=where.threads,
    )


def _segmenter(part: Part, path: Path, where: _Where, version: str) -> Segmenter:
    if _runs_on_onnx(part):
        from perception.segmenters.sam.onnx import OnnxSegmenter

        files = (
            _exported_files(path, Role.SEGMENTER)
            if part.family == EXPORTED
            else [locate(file) for file in _NANO_FILES[Role.SEGMENTER]]
        )
        return OnnxSegmenter(*files, threads=where.threads, device=where.onnx)
    from perception.segmenters.load import load_segmenter

    segmenter = load_segmenter(
        part.family,
        path,
        name=part.name,
        version=version,
        device=where.device,
        precision=where.precision,
    )
    limit_torch_threads(segmenter, where.threads)
    return segmenter


def _exported_files(folder: Path, role: Role) -> list[Path]:
    """The files of one of the models that ``perception export`` has written into a folder."""
    if role is Role.DETECTOR:
        from perception.detectors.load import find_exported

        return list(find_exported(folder).paths)
    files = []
    for part in _ONNX_PARTS:
        # With --int8 there are two encoders: the exact one is taken where both are.
        exact = sorted(folder.glob(f"*-{part}.onnx"))
        found = exact or sorted(folder.glob(f"*-{part}-int8.onnx"))
        if len(found) != 1:
            wanted = f"*-{part}.onnx"
            fault = f"expected one file {wanted}, found {len(found)}" if found else f"no {wanted}"
            raise WeightsError(
                f"{printable(str(folder))}: {fault} in this folder; "
                f"perception export writes one {role.value} into a folder of its own"
            )
        files += found
    return files
