"""Grounding DINO, MM-Grounding-DINO and LLMDet on ONNX Runtime; no torch.

Three files and a vocabulary, as ``perception export`` writes them. The text side takes ``ids`` T,
``sees`` T x T (1.0 where a token sees another) and ``positions`` T, and gives ``words`` T x D. The
image side takes ``patches`` S x 48 and the lists of ``swin_plan``, and gives ``level0``, ``level1``
and so on, 1 x D x S each. The fusion takes ``words``, ``sees``, ``positions`` and each level again
as ``map0``..., 1 x D x h x w, and gives ``boxes`` Q x 4, cxcywh as parts of the image, and
``logits`` Q x T. All files carry ``GroundingMetadata``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.detectors.decode import join_passes, scored, span_scores
from perception.detectors.onnx_files import (
    boxes_in_image,
    fitted_pixels,
    fitted_size,
    thickened,
    to_patches,
)
from perception.detectors.protocol import Detector
from perception.detectors.swin_windows import PATCH, STAGES, level_shapes, plan
from perception.detectors.text import (
    Marks,
    TextMemory,
    TextPass,
    longest_phrase,
    pack,
    token_ids,
    too_long,
)
from perception.detectors.tokenizers import WordPiece
from perception.errors import WeightsError
from perception.imaging.read import printable
from perception.ops.boxes import clip_boxes
from perception.prompts.grammar import Phrases
from perception.runtime.onnx_session import OnnxMetadata, open_session
from perception.types import Candidates, FloatArray, ImageArray

KEPT_TEXTS = 256
"""Texts whose words are kept, at most a quarter of a megabyte each."""


def load_grounding_dino(
    folder: str | Path, *, threads: int = 0, device: str = "auto"
) -> OnnxGroundingDino:
    """The detector that ``perception export`` wrote into a folder, found by its fusion file.

    Raises WeightsError where there is none, or more than one.
    """
    folder = Path(folder)
    found = sorted(folder.glob("*-fusion.onnx"))
    if len(found) != 1:
        raise WeightsError(
            f"{printable(str(folder))}: expected one exported detector, a NAME-fusion.onnx and its "
            f"other files, there are {len(found)}"
        )
    prefix = found[0].name.removesuffix("-fusion.onnx")
    names = ("text.onnx", "image.onnx", "fusion.onnx", "vocab.txt")
    paths = [folder / f"{prefix}-{name}" for name in names]
    return OnnxGroundingDino(*paths, threads=threads, device=device)


class OnnxGroundingDino(Detector):
    """A ``Detector`` over the three ONNX files and the vocabulary.

    threads: of each session; 0 means all the cores that this process may use. device: "auto",
    "cpu" or "cuda[:N]". Raises WeightsError when a file is missing, damaged, of another kind or of
    another model, DeviceError for a device that isn't there.
    """

    phrases_independent = False  # Words and images are fused, so each word touches each box.

    def __init__(
        self,
        text_path: str | Path,
        image_path: str | Path,
        fusion_path: str | Path,
        vocab_path: str | Path,
        *,
        threads: int = 0,
        device: str = "auto",
    ) -> None:
        paths = (text_path, image_path, fusion_path)
        sessions = [open_session(path, threads=threads, device=device) for path in paths]
        self._text, self._image, self._fusion = sessions
        self.metadata = GroundingMetadata.shared(*zip(sessions, PARTS, paths, strict=True))
        self._tokenizer = WordPiece.load(Path(vocab_path), lower_case=self.metadata.lower_case)
        if len(self._tokenizer.ids) != self.metadata.vocabulary:
            raise WeightsError(
                f"{printable(str(vocab_path))}: {len(self._tokenizer.ids)} pieces, the model was "
                f"trained with {self.metadata.vocabulary}: use the one that was exported with it"
            )
        self.name = self.metadata.name
        self._texts: TextMemory[tuple[int, ...], FloatArray] = TextMemory(KEPT_TEXTS)

    def candidates(
        self, images: Sequence[ImageArray], phrases: Phrases, *, floor: float
    ) -> list[Candidates]:
        """All boxes in each RGB image H x W x 3 that reach ``floor``; see ``Detector``."""
        passes = self._pack(phrases.phrases)
        return [self._one(image, passes, floor) for image in images]

    def _one(self, image: ImageArray, passes: Sequence[TextPass], floor: float) -> Candidates:
        maps = self._maps(image)
        found = [self._ask(image, maps, text, floor) for text in passes]
        numbers = [text.phrases for text in passes]
        return join_passes(found, numbers, queries=self.metadata.queries)

    def _maps(self, image: ImageArray) -> dict[str, FloatArray]:
        """An image's levels by the names of the fusion's inputs."""
        about = self.metadata
        image = thickened(image)
        size = fitted_size(
            image.shape[0], image.shape[1], shortest=about.shortest, longest=about.longest
        )
        pixels = fitted_pixels(image, size, about.mean, about.std)
        patches, height, width = to_patches(pixels, PATCH)
        lists = plan(height, width, side=about.window, extra=about.extra)
        levels = self._image.run(None, {"patches": patches, **lists})
        shapes = level_shapes(height, width, STAGES + about.extra)[-len(levels) :]
        return {
            f"map{number}": level.reshape(1, -1, *shape)
            for number, (level, shape) in enumerate(zip(levels, shapes, strict=True))
        }

    def _ask(
        self, image: ImageArray, maps: dict[str, FloatArray], text: TextPass, floor: float
    ) -> Candidates:
        """What one text finds in an image."""
        about = {"sees": text.attention().astype(np.float32), "positions": text.positions}
        words = self._texts.get(
            text.key, lambda: self._text.run(["words"], {"ids": text.ids, **about})[0]
        )
        given = {"words": words, **about, **maps}
        boxes, logits = self._fusion.run(["boxes", "logits"], given)
        height, width = image.shape[:2]
        placed = clip_boxes(boxes_in_image(boxes, width, height), (height, width))
        return scored(placed, span_scores(logits, text.spans), floor=floor)

    def _pack(self, phrases: Sequence[str]) -> list[TextPass]:
        tokenizer = self._tokenizer
        tokens = token_ids(tokenizer, phrases, model=self.name)
        most = longest_phrase(self.metadata.limit)
        for phrase, ids in zip(phrases, tokens, strict=True):
            if len(ids) > most:
                raise too_long(phrase, len(ids), most)
        marks = Marks(tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.separator_id)
        return pack(tokens, marks, limit=self.metadata.limit)


TEXT, IMAGE, FUSION = "grounding-text", "grounding-image", "grounding-fusion"
PARTS = (TEXT, IMAGE, FUSION)


@dataclass(frozen=True)
class GroundingMetadata(OnnxMetadata):
    """What a Grounding DINO needs to be asked.

    source: sha256 of the weights that it was made from; limit: tokens of one text; queries: boxes
    of one text; window: side of the backbone's windows; extra: levels beyond the backbone's;
    shortest, longest: sides that images are resized to; mean, std: R G B, of values in 0..1;
    vocabulary: its pieces; lower_case: whether case and accents are read.
    """

    source: str
    limit: int
    queries: int
    window: int
    extra: int
    shortest: int
    longest: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    vocabulary: int
    lower_case: bool
