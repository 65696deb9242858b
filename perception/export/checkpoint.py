"""From a checkpoint to ONNX files with a card beside each: what ``perception export`` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from perception.errors import MissingExtraError
from perception.formats.atomic import check_writable, whole_file
from perception.version import __version__
from perception.weights import data_folder, sha256_of_file

FAST, REFERENCE = "fast", "segment-anything"
SIGNATURES = (FAST, REFERENCE)
NANO = "nano-segmenter.safetensors"


def export_checkpoint(
    model: str,
    folder: Path,
    *,
    signatures: Sequence[str] = (FAST,),
    single_mask: bool = False,
    int8: bool = False,
) -> list[Path]:
    """Exports a segmenter and returns the files, a card (``FILE.json``) beside each.

    model: "nano", or a SAM checkpoint (file, or folder in transformers' layout). signatures:
    "fast" gives encoder, preparer and decoder for ``OnnxSegmenter``; "segment-anything" a decoder
    with the inputs and outputs of the published export, single_mask as there. int8: with "fast",
    the encoder once more with int8 weights.
    Raises WeightsError for the checkpoint, ExportError where a graph disagrees with torch, and
    OutputError for the folder.
    """
    check_writable(folder)
    try:
        from perception.export.onnx_file import OPSET, TOLERANCE
        from perception.export.sam import export_fast, export_int8_encoder, export_reference
        from perception.segmenter.load import load_nano, load_sam
    except ImportError as error:
        raise MissingExtraError(
            f"exporting needs {error.name}: pip install 'perception-masks[torch]'"
        ) from None
    source = data_folder() / NANO if model == "nano" else Path(model)
    sam = load_nano(source) if source.name == NANO else load_sam(source)
    name = "nano" if source.name == NANO else source.stem
    exports = {
        FAST: lambda: export_fast(sam, folder, name=name, prefix=name),
        REFERENCE: lambda: export_reference(
            sam, folder, name=name, prefix=name, single_mask=single_mask
        ),
    }
    versions = {part: installed_version(part) for part in ("torch", "onnx", "onnxscript")}
    card = {
        "opset": OPSET,
        "allowed_difference": TOLERANCE,
        "made_from": source.name,
        "versions": {"perception": __version__, **versions},
    }
    files: list[Path] = []
    for signature in signatures:
        for file_name, difference in exports[signature]().items():
            files.append(folder / file_name)
            _write_card(files[-1], card | {"largest_difference_from_torch": difference})
    if int8 and FAST in signatures:
        for file_name, cosine in export_int8_encoder(sam, folder, prefix=name).items():
            files.append(folder / file_name)
            _write_card(files[-1], card | {"weights": "int8", "least_cosine_with_torch": cosine})
    return files


def _write_card(path: Path, card: dict[str, Any]) -> None:
    """What is known of an exported file, as ``FILE.json`` beside it."""
    about = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
    with whole_file(path.with_name(f"{path.name}.json")) as file:
        file.write((json.dumps(about | card, indent=2) + "\n").encode())
