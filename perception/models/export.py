"""Exporting models as ONNX files with a card beside each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import torch

from perception import __version__
from perception.checkpoints.catalog import family_of, read_manifest
from perception.checkpoints.installed import data_folder, find, missing, model_type
from perception.checkpoints.lock import sha256_of_file
from perception.checkpoints.verify import check
from perception.detectors.nano.network import NanoNetwork
from perception.detectors.nano.photo_network import PhotoNetwork
from perception.detectors.nano.spec import IMAGE, PHOTO, TEXT, DetectorMetadata
from perception.errors import ExportError, MissingExtraError
from perception.runtime.files import check_writable, remove_parts, whole_file
from perception.runtime.onnx_export import write_onnx
from perception.segmenters.sam.export import export_fast
from perception.segmenters.sam.network import Sam

FAST, REFERENCE = "fast", "segment-anything"
SIGNATURES = (FAST, REFERENCE)


def export_checkpoint(
    model: str,
    folder: Path,
    *,
    signatures: Sequence[str] = (FAST,),
    single_mask: bool = False,
    int8: bool = False,
) -> list[Path]:
    """Exports a segmenter or a detector; returns the files, a card (``FILE.json``) beside each.

    model: "nano", a published model by name, a SAM checkpoint (file, or folder in transformers'
    layout), or a published detector's folder, which gives the files that ``load_exported`` reads.
    Of a segmenter, signatures: "fast" gives encoder, preparer and decoder for ``OnnxSegmenter``;
    "segment-anything" a decoder with the inputs and outputs of the published export, single_mask as
    there. int8: with "fast", the encoder once more with int8 weights.
    Raises WeightsError for the checkpoint, ExportError where a graph disagrees with torch, and
    OutputError for the folder.
    """
    check_writable(folder)
    remove_parts(folder)
    try:
        from perception.runtime.onnx_export import CELLS_TOLERANCE as LOOSER
        from perception.runtime.onnx_export import OPSET
    except ImportError as error:
        raise MissingExtraError(
            f"exporting needs {error.name}: pip install 'perception-masks[torch]'"
        ) from None
    source = find_source(model)
    versions = {part: installed_version(part) for part in ("torch", "onnx", "onnxscript")}
    card = {
        "opset": OPSET,
        "made_from": source.path.name,
        "versions": {"perception": __version__, **versions},
    }
    if is_detector(source):
        if int8 or tuple(signatures) != (FAST,):
            raise ExportError(f"{source.name} is a detector: these options are for segmenters")
        facts = _differences(export_detector_folder(source, folder), LOOSER)
    else:
        facts = _segmenter(
            source, folder, signatures=signatures, single_mask=single_mask, int8=int8
        )
    for file_name, known in facts.items():
        _write_card(folder / file_name, card | known)
    return [folder / file_name for file_name in facts]


def _segmenter(
    source: Source,
    folder: Path,
    *,
    signatures: Sequence[str],
    single_mask: bool,
    int8: bool,
) -> dict[str, dict[str, Any]]:
    """Writes a segmenter's files, and returns what is to be said of each, by its name."""
    from perception.runtime.onnx_export import TOLERANCE
    from perception.segmenters.load import load_nano, load_sam
    from perception.segmenters.sam.export import export_fast, export_int8_encoder, export_reference

    name, is_nano = source.name, source.path.name == NANO
    sam = load_nano(source.path) if is_nano else load_sam(source.path)
    exports = {
        FAST: lambda: export_fast(
            sam, folder, name=name, prefix=name, predictor="zoom" if is_nano else "whole"
        ),
        REFERENCE: lambda: export_reference(
            sam, folder, name=name, prefix=name, single_mask=single_mask
        ),
    }
    facts: dict[str, dict[str, Any]] = {}
    for signature in signatures:
        facts |= _differences(exports[signature](), TOLERANCE)
    if int8 and FAST in signatures:
        for file_name, cosine in export_int8_encoder(sam, folder, prefix=name).items():
            facts[file_name] = {"weights": "int8", "least_cosine_with_torch": cosine}
    return facts


def _differences(worst: Mapping[str, float], allowed: float) -> dict[str, dict[str, Any]]:
    return {
        name: {"allowed_difference": allowed, "largest_difference_from_torch": difference}
        for name, difference in worst.items()
    }


def _write_card(path: Path, card: dict[str, Any]) -> None:
    """What is known of an exported file, as ``FILE.json`` beside it."""
    about = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
    with whole_file(path.with_name(f"{path.name}.json")) as file:
        file.write((json.dumps(about | card, indent=2) + "\n").encode())


NANO = "nano-segmenter.safetensors"


@dataclass(frozen=True)
class Source:
    """family: as the manifest names it, "" where only the file itself can tell."""

    name: str
    family: str
    path: Path


def find_source(model: str) -> Source:
    """Where the model is; raises WeightsError for a published one that isn't on this machine."""
    if model == "nano" or Path(model).name == NANO:
        return Source("nano", "", data_folder() / NANO if model == "nano" else Path(model))
    entry = read_manifest().get(model)
    if entry is None or entry.is_embedded:
        path = Path(model)
        kind = model_type(path) if path.is_dir() else None
        name = path.absolute().name if path.is_dir() else path.stem
        return Source(name, family_of(kind or "") or "", path)
    installed = find(entry)
    if installed is None:
        raise missing([entry])
    check(entry, installed)
    path = installed.files[entry.files[0].name] if entry.url else installed.folder
    return Source(entry.name, entry.family, path)


EXPORTED = ("grounding-dino", "mm-grounding-dino", "owlv2", "omdet-turbo")


def is_detector(source: Source) -> bool:
    """Whether it is a published detector."""
    return source.family in EXPORTED


def export_detector_folder(source: Source, folder: Path) -> dict[str, float]:
    """Writes a detector's graphs and vocabulary; returns the largest differences by graph's name.

    Raises ExportError where a graph disagrees with torch, and WeightsError for a folder that can't
    be read.
    """
    import transformers

    from perception.checkpoints.lock import sha256_of_file
    from perception.detectors.grounding_dino.export import export_grounding_dino
    from perception.detectors.omdet_turbo.export import export_omdet_turbo
    from perception.detectors.owlv2.export import export_owlv2
    from perception.detectors.pretrained import load_image_processor, load_network, load_tokenizer

    kind, export = {
        "grounding-dino": (transformers.GroundingDinoForObjectDetection, export_grounding_dino),
        "mm-grounding-dino": (
            transformers.MMGroundingDinoForObjectDetection,
            export_grounding_dino,
        ),
        "owlv2": (transformers.Owlv2ForObjectDetection, export_owlv2),
        "omdet-turbo": (transformers.OmDetTurboForObjectDetection, export_omdet_turbo),
    }[source.family]
    network = load_network(kind, source.path)
    weights = sorted(source.path.glob("*.safetensors"))
    return export(
        network,
        load_tokenizer(source.path, network),
        load_image_processor(source.path),
        folder,
        name=source.name,
        source=" ".join(sha256_of_file(path) for path in weights),
    )


VERSION = "2"


def export_detector(network: NanoNetwork, folder: Path, *, side: int) -> dict[str, float]:
    """Writes the text and the image side for a side x side input.

    Returns the largest difference from torch by file name; raises ExportError if it is too large.
    """
    vocabulary, width = network.text.token.weight.shape
    metadata = DetectorMetadata("nano", VERSION, side, vocabulary)
    generator = torch.Generator().manual_seed(0)

    def ids(count: int, length: int) -> torch.Tensor:
        drawn = torch.randint(1, vocabulary, (count, length), generator=generator)
        drawn[1:, 1:][:, length // 2 :] = 0  # all but the first phrase are shorter
        return drawn

    def picture(tokens: int) -> dict[str, torch.Tensor]:
        pixels = torch.randn(1, 3, side, side, generator=generator)
        return {"pixels": pixels, "tokens": torch.randn(tokens, width, generator=generator)}

    text = write_onnx(
        network.text,
        folder / "nano-detector-text.onnx",
        [{"ids": ids(*size)} for size in ((3, 5), (1, 1), (1, 4), (7, 32), (2, 1))],
        outputs=["tokens"],
        dynamic={"ids": {0: "N", 1: "L"}},
        metadata=metadata.to_map(TEXT),
    )
    image = write_onnx(
        network,
        folder / "nano-detector-image.onnx",
        [picture(tokens) for tokens in (5, 1, 40)],
        outputs=["boxes", "logits"],
        dynamic={"tokens": {0: "T"}},
        metadata=metadata.to_map(IMAGE),
    )
    return {"nano-detector-text.onnx": text, "nano-detector-image.onnx": image}


def export_photo(
    network: PhotoNetwork, folder: Path, *, side: int, vocabulary: int
) -> dict[str, float]:
    """Writes the photograph half, whose input's longer side is ``side``; as ``export_detector``."""
    metadata = DetectorMetadata("nano", VERSION, side, vocabulary)
    generator = torch.Generator().manual_seed(0)

    def case(height: int, width: int, phrases: int) -> dict[str, torch.Tensor]:
        pixels = torch.randn(1, 3, height, width, generator=generator)
        vectors = torch.randn(phrases, network.phrase_size, generator=generator)
        return {"pixels": pixels, "phrases": vectors / network.phrase_size**0.5}

    name = "nano-detector-photo.onnx"
    sizes = ((side, side - 32, 5), (side - 32, side, 1), (side, side, 40), (64, side, 3))
    worst = write_onnx(
        network,
        folder / name,
        [case(*size) for size in sizes],
        outputs=["boxes", "logits", "drawn"],
        dynamic={"pixels": {2: "32*H", 3: "32*W"}, "phrases": {0: "R"}},
        metadata=metadata.to_map(PHOTO),
    )
    return {name: worst}


def export_segmenter(sam: Sam, folder: Path) -> dict[str, float]:
    """Writes the image encoder, the preparer and the mask decoder; see ``export_fast``."""
    return export_fast(sam, folder, name="nano", prefix="nano-segmenter", predictor="zoom")
