"""Loading models by name."""

from __future__ import annotations

from perception.defaults import MODEL, THREADS
from perception.model import Model
from perception.weights import locate, sha256_of, unknown_name

_DETECTOR_FILES = ("nano-detector-text.onnx", "nano-detector-image.onnx", "nano-detector-vocab.txt")
_SEGMENTER_FILES = (
    "nano-segmenter-encoder.onnx",
    "nano-segmenter-preparer.onnx",
    "nano-segmenter-decoder.onnx",
)


def load(name: str = MODEL, *, threads: int = THREADS) -> Model:
    """A model by name: "nano" is embedded, for drawn things and simple cases, and needs no network.

    threads: CPU threads to use; 0 means all the cores that this process may use. Raises
    WeightsError for an unknown name, and for model files that are missing or damaged.
    """
    if name != "nano":
        from perception.errors import WeightsError

        raise WeightsError(unknown_name(name, ["nano"]))
    from perception.detector.onnx import NanoDetector
    from perception.segmenter.onnx import OnnxSegmenter

    text, image, vocabulary = (locate(file) for file in _DETECTOR_FILES)
    encoder, preparer, decoder = (locate(file) for file in _SEGMENTER_FILES)
    return Model(
        detector=NanoDetector(text, image, vocabulary, threads=threads),
        segmenter=OnnxSegmenter(encoder, preparer, decoder, threads=threads),
        weights=sha256_of([*_DETECTOR_FILES, *_SEGMENTER_FILES]),
    )
