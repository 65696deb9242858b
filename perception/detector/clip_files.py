"""The exported files of a detector that reads phrases as CLIP does: OWLv2, OmDet-Turbo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perception.detector.byte_pairs import BytePairs
from perception.errors import WeightsError
from perception.images import printable
from perception.onnx_metadata import OnnxMetadata
from perception.onnx_session import open_session
from perception.weights.digests import sha256_of_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OWLV2 = ("owlv2-text", "owlv2-patches")
OMDET_TURBO = ("omdet-turbo-text", "omdet-turbo-image", "omdet-turbo-boxes")
"""The parts of one model, a file each."""


@dataclass(frozen=True)
class ClipMetadata(OnnxMetadata):
    """What such a detector needs to be asked.

    source: sha256 of the weights that it was made from; side: of the square that every picture
    becomes; limit: tokens of one text; queries: boxes of one picture; mean, std: R G B, of values
    in 0..1; vocabulary: sha256 of its file.
    """

    source: str
    side: int
    limit: int
    queries: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    vocabulary: str


@dataclass(frozen=True, eq=False)
class ClipFiles:
    """sessions: in the order of the model's parts."""

    sessions: tuple[InferenceSession, ...]
    metadata: ClipMetadata
    tokenizer: BytePairs


def open_clip_files(
    paths: Sequence[str | Path],
    parts: Sequence[str],
    vocab_path: str | Path,
    *,
    threads: int,
    device: str,
) -> ClipFiles:
    """Opens the graphs, one of each part, and reads the vocabulary.

    threads, device: as ``open_session``. Raises WeightsError when a file is missing, damaged, of
    another kind or of another model, DeviceError for a device that isn't there.
    """
    sessions = tuple(open_session(path, threads=threads, device=device) for path in paths)
    metadata = ClipMetadata.shared(*zip(sessions, parts, paths, strict=True))
    tokenizer = BytePairs.load(Path(vocab_path))
    if sha256_of_file(Path(vocab_path)) != metadata.vocabulary:
        raise WeightsError(
            f"{printable(str(vocab_path))}: not the vocabulary of this model: use the one that was "
            "exported with it"
        )
    return ClipFiles(sessions, metadata, tokenizer)
