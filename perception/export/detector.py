"""Published detectors as ONNX files, by family."""

from __future__ import annotations

from pathlib import Path

from perception.export.source import Source

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

    from perception.detector.pretrained import load_image_processor, load_network, load_tokenizer
    from perception.export.grounding_dino import export_grounding_dino
    from perception.export.omdet_turbo import export_omdet_turbo
    from perception.export.owlv2 import export_owlv2
    from perception.weights.digests import sha256_of_file

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
