"""From a checkpoint to ONNX files with a card beside each: what ``perception export`` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path

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
) -> list[Path]:
    """Exports a segmenter and returns the files, a card (``FILE.json``) beside each.

    model: "nano", or a SAM checkpoint (file, or folder in transformers' layout). signatures:
    "fast" gives encoder, preparer and decoder for ``OnnxSegmenter``; "segment-anything" a decoder
    with the inputs and outputs of the published export, single_mask as there.
    Raises WeightsError for the checkpoint, ExportError where a graph disagrees with torch, and
    OutputError for the folder.
    """
    check_writable(folder)
    try:
        from perception.export.onnx_file import OPSET, TOLERANCE
        from perception.export.sam import export_fast, export_reference
        from perception.segmenter.load import load_nano, load_sam
    except ImportError as error:
        raise MissingExtraError(
            f"exporting needs {error.name}: pip install 'perception-masks[torch]'"
        ) from None
    source = data_folder() / NANO if model == "nano" else Path(model)
    sam = load_nano(source) if source.name == NANO else load_sam(source)
    name = "nano" if source.name == NANO else source.stem
    worst: dict[str, float] = {}
    if FAST in signatures:
        worst |= export_fast(sam, folder, name=name, prefix=name)
    if REFERENCE in signatures:
        worst |= export_reference(sam, folder, name=name, prefix=name, single_mask=single_mask)
    for file_name, difference in worst.items():
        path = folder / file_name
        card = {
            "file": file_name,
            "bytes": path.stat().st_size,
            "sha256": sha256_of_file(path),
            "opset": OPSET,
            "largest_difference_from_torch": float(f"{difference:.2g}"),
            "allowed_difference": TOLERANCE,
            "made_from": source.name,
            "versions": {
                "perception": __version__,
                **{name: installed_version(name) for name in ("torch", "onnx", "onnxscript")},
            },
        }
        with whole_file(path.with_name(f"{file_name}.json")) as file:
            file.write((json.dumps(card, indent=2) + "\n").encode())
    return [folder / file_name for file_name in worst]
