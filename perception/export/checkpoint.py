"""From a checkpoint to ONNX files with a card beside each: what ``perception export`` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from perception.errors import ExportError, MissingExtraError
from perception.export.source import NANO, Source, find_source
from perception.formats.atomic import check_writable, remove_parts, whole_file
from perception.version import __version__
from perception.weights.digests import sha256_of_file

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
        from perception.export.chosen_cells import TOLERANCE as LOOSER
        from perception.export.detector import export_detector_folder, is_detector
        from perception.export.onnx_file import OPSET
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
    from perception.export.onnx_file import TOLERANCE
    from perception.export.sam import export_fast, export_int8_encoder, export_reference
    from perception.segmenter.load import load_nano, load_sam

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
