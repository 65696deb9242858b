"""OWLv2 on ONNX Runtime; needs no torch.

Two files and a vocabulary, as ``perception export`` writes them. The text side takes ``ids`` N x L,
padded with 0, and gives ``queries`` N x D. The image side takes ``pixels`` 1 x 3 x S x S and gives
of each patch ``embeddings`` Q x D, ``boxes`` Q x 4, cxcywh as parts of the square that the picture
lies in the corner of, ``shift`` and ``scale``, Q x 1 each, and ``objectness`` Q, the logit of
anything at all, which isn't asked for here. Both files carry ``ClipMetadata``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perception.detector.clip_files import OWLV2, open_clip_files
from perception.detector.decode import candidates
from perception.detector.owlv2_pixels import boxes_from_square, to_square_pixels
from perception.detector.owlv2_text import KEPT_PHRASES, PHRASES_PER_CALL, token_rows
from perception.detector.protocol import Detector
from perception.detector.text_memory import TextMemory
from perception.phrases import Phrases
from perception.types import Candidates, FloatArray, ImageArray


class OnnxOwlv2(Detector):
    """A ``Detector`` over the two ONNX files and the vocabulary.

    threads: of each session; 0 means all the cores that this process may use. device: "auto",
    "cpu" or "cuda[:N]". Raises WeightsError when a file is missing, damaged, of another kind or of
    another model, DeviceError for a device that isn't there.
    """

    phrases_independent = True  # A query is only multiplied with the patches, and they have boxes.

    def __init__(
        self,
        text_path: str | Path,
        patches_path: str | Path,
        vocab_path: str | Path,
        *,
        threads: int = 0,
        device: str = "auto",
    ) -> None:
        paths = (text_path, patches_path)
        files = open_clip_files(paths, OWLV2, vocab_path, threads=threads, device=device)
        self._text, self._patches = files.sessions
        self.metadata, self._tokenizer = files.metadata, files.tokenizer
        self.name, self.side = self.metadata.name, self.metadata.side
        self._queries: TextMemory[str, FloatArray] = TextMemory(KEPT_PHRASES)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB picture H x W x 3 that reach ``floor``; see ``Detector``."""
        queries = np.stack(self._queries.get_all(phrases.phrases, self._encode))  # P x D
        return [self._one(image, queries, floor) for image in images]

    def _one(self, image: ImageArray, queries: FloatArray, floor: float) -> Candidates:
        about = self.metadata
        pixels = to_square_pixels(image, about.side, about.mean, about.std)[None]
        embeddings, boxes, shift, scale = self._patches.run(
            ["embeddings", "boxes", "shift", "scale"], {"pixels": pixels}
        )
        logits = (embeddings @ queries.T + shift) * scale
        return candidates(boxes_from_square(boxes, image.shape[:2]), logits, floor=floor)

    def _encode(self, phrases: Sequence[str]) -> list[FloatArray]:
        """The query of each of N phrases, D."""
        limit = self.metadata.limit
        rows = token_rows(self._tokenizer, phrases, limit=limit, model=self.name)
        queries: list[FloatArray] = []
        for start in range(0, len(rows), PHRASES_PER_CALL):
            (found,) = self._text.run(["queries"], {"ids": rows[start : start + PHRASES_PER_CALL]})
            queries += list(found)
        return queries
