"""Published detectors as ONNX files, by family."""

from __future__ import annotations

from pathlib import Path

from perception.errors import ExportError
from perception.export.source import Source
from perception.images import printable

EXPORTED = ("grounding-dino", "mm-grounding-dino")
NOT_EXPORTED = {
    "owlv2": "OWLv2 can't be exported yet: the core has no runtime for it",
    "omdet-turbo": "OmDet-Turbo can't be exported yet: the core has no runtime for it",
}
"""Why not, by family."""


def is_detector(source: Source) -> bool:
    """Whether it is a published detector, be it one that can be exported or not."""
    return source.family in EXPORTED or source.family in NOT_EXPORTED


def export_detector_folder(source: Source, folder: Path) -> dict[str, float]:
    """Writes a detector's graphs and vocabulary; returns the largest differences by graph's name.

    Raises ExportError for a family that can't be exported and where a graph disagrees with torch,
    and WeightsError for a folder that can't be read.
    """
    if source.family in NOT_EXPORTED:
        raise ExportError(f"{printable(source.name)}: {NOT_EXPORTED[source.family]}")
    from transformers import GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection

    from perception.detector.pretrained import load_image_processor, load_network, load_tokenizer
    from perception.export.grounding_dino import export_grounding_dino
    from perception.weights.digests import sha256_of_file

    kinds = dict(
        zip(
            EXPORTED,
            (GroundingDinoForObjectDetection, MMGroundingDinoForObjectDetection),
            strict=True,
        )
    )
    network = load_network(kinds[source.family], source.path)
    weights = sorted(source.path.glob("*.safetensors"))
    return export_grounding_dino(
        network,
        load_tokenizer(source.path, network),
        load_image_processor(source.path),
        folder,
        name=source.name,
        source=" ".join(sha256_of_file(path) for path in weights),
    )
