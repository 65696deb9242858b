"""SAM 3 as a detector whose boxes come with masks: one pass for each phrase.

Carion et al. 2025, "SAM 3: Segment Anything with Concepts". The modules are transformers'; here a
image is encoded once for all phrases, and a phrase once for all images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from perception.errors import PromptError
from perception.imaging.preprocess import Frame, fit_picture
from perception.prompts.grammar import NEGATIVE, Phrases
from perception.types import (
    BoxMasks,
    Candidates,
    Examples,
    FloatArray,
    ImageArray,
    IntArray,
    Prompt,
)

RGB_MEAN = RGB_STD = (127.5, 127.5, 127.5)
"""Red, green and blue from 0..255 to -1..1."""

LONGEST = 32
"""Tokens of a phrase that the text side reads, with the marks of its begin and end."""

KEPT_PHRASES = 4096
"""Encoded phrases that are kept; one prompt may have more."""

PLACES = 1 << 12
"""More than the places that one phrase has."""


class Finder:
    """The text side of SAM 3.

    tokenizer: of transformers; side: of the square input in pixels.
    """

    def __init__(self, concepts: Concepts, tokenizer: Any, *, side: int) -> None:
        self._concepts, self._tokenizer, self._side = concepts, tokenizer, side
        self._known: dict[str, EncodedPhrase] = {}

    def candidates(
        self,
        images: Sequence[ImageArray],
        phrases: Phrases,
        *,
        floor: float,
        examples: Examples | None = None,
    ) -> list[Candidates]:
        """All boxes with masks that reach ``floor``; see ``Detector``.

        examples: show the one class that is asked for, in every image. Raises PromptError for a
        phrase that is too long, for examples with several classes, and for an example outside the
        image.
        """
        if examples is not None and len(phrases.classes) > 1:
            raise PromptError(
                f"examples show one class, the text names {len(phrases.classes)}: "
                f"{', '.join(phrases.classes[:5])}: name one, or leave the text out"
            )
        words = [self._encode(phrase) for phrase in phrases.phrases]
        if not images:
            return []
        fitted = [
            fit_picture(image, self._side, stretched=True, mean=RGB_MEAN, std=RGB_STD)
            for image in images
        ]
        frames = [frame for frame, _ in fitted]
        shown = None if examples is None else _shown(examples, frames)
        pixels = torch.from_numpy(np.concatenate([pixels for _, pixels in fitted]))
        pictures = self._concepts.encode_pictures(pixels)
        found: list[list[Candidates]] = [[] for _ in images]
        for n, word in enumerate(words):
            boxes = shown if phrases.class_ids[n] != NEGATIVE else None
            answer = self._find(pictures, word, boxes)
            for picture, frame in enumerate(frames):
                found[picture].append(_kept(answer, picture, frame, phrases, n, floor))
        return [_joined(parts, frame) for parts, frame in zip(found, frames, strict=True)]

    def _find(
        self,
        pictures: EncodedPictures,
        word: EncodedPhrase,
        shown: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> Found:
        boxes, labels = (None, None) if shown is None else shown
        return self._concepts.find(pictures, word, boxes, labels)

    def _encode(self, phrase: str) -> EncodedPhrase:
        """One phrase, from the text side or from memory."""
        known = self._known  # Another thread may begin a new memory meanwhile.
        if phrase not in known:
            tokens = self._tokenizer(phrase, padding="max_length", max_length=LONGEST)
            ids, real = tokens["input_ids"], tokens["attention_mask"]
            if len(ids) > LONGEST:
                raise PromptError(
                    f'the phrase "{phrase}" has {len(ids) - 2} tokens, the model reads '
                    f"{LONGEST - 2}: say it shorter"
                )
            if len(known) >= KEPT_PHRASES:
                known = self._known = {}
            known[phrase] = self._concepts.encode_phrase(torch.tensor([ids]), torch.tensor([real]))
        return known[phrase]


def _shown(examples: Examples, frames: Sequence[Frame]) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples as boxes B x N x 4 cxcywh in 0..1 and labels B x N, the same in every image."""
    boxes = []
    for frame in frames:
        fitted = frame.fit_prompt(Prompt(boxes=examples.boxes)).boxes
        corners = frame.boxes_to_model(fitted).reshape(-1, 2, 2) / frame.side
        center, size = corners.mean(axis=1), corners[:, 1] - corners[:, 0]
        boxes.append(np.concatenate((center, size), axis=1, dtype=np.float32))
    labels = torch.from_numpy(np.asarray(examples.labels, np.int64))
    return torch.from_numpy(np.stack(boxes)), labels.expand(len(frames), -1)


def _kept(
    found: Found, picture: int, frame: Frame, phrases: Phrases, phrase: int, floor: float
) -> Candidates:
    """One image's boxes for one phrase that reach ``floor``; other phrases have no score."""
    all_scores: FloatArray = found.scores[picture].cpu().numpy()
    boxes = frame.boxes_to_image(found.boxes[picture].cpu().numpy() * np.float32(frame.side))
    sound = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    rows = np.flatnonzero(sound & (all_scores >= floor))
    scores = np.zeros((len(rows), len(phrases)), np.float32)
    scores[:, phrase] = all_scores[rows]
    picked = torch.from_numpy(rows).to(found.logits.device)
    logits = found.logits[picture][picked].float().cpu().numpy()
    queries = rows + _first_place(phrases.phrases[phrase])
    return Candidates(boxes[rows], scores, queries, BoxMasks(logits, frame))


def _first_place(phrase: str) -> int:
    """The number of a phrase's first place, the same whatever else is asked, now or later."""
    digest = hashlib.blake2b(phrase.encode("utf-8"), digest_size=6).digest()
    return int.from_bytes(digest, "big") * PLACES


def _joined(parts: Sequence[Candidates], frame: Frame) -> Candidates:
    """The candidates of all phrases as one."""
    logits = np.concatenate([part.masks.logits for part in parts if part.masks is not None])
    queries: IntArray = np.concatenate([part.queries for part in parts])
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        queries,
        BoxMasks(logits, frame),
    )


@dataclass(frozen=True, eq=False)
class EncodedPhrase:
    """One phrase of L tokens. features: 1 x L x D; real: 1 x L, 0 where a token is padding."""

    features: Tensor
    real: Tensor


class EncodedPictures(NamedTuple):
    """B pictures' feature pyramid from fine to coarse, B x D x h x w each, and codes of places."""

    levels: tuple[Tensor, ...]
    places: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.levels[0])


class Found(NamedTuple):
    """What one phrase finds in B images, in Q places each.

    boxes: B x Q x 4 xyxy, as parts of the image's width and height; scores: B x Q in 0..1;
    logits: B x Q x h x w, of masks.
    """

    boxes: Tensor
    scores: Tensor
    logits: Tensor


class Concepts:
    """The steps over transformers' ``Sam3Model``, which is in evaluation mode.

    dtype: of the products in the image's encoder; all that follows is float32.
    """

    def __init__(self, network: nn.Module, *, dtype: torch.dtype = torch.float32) -> None:
        self.network: Any = network
        self.dtype = dtype
        self.device: torch.device = next(network.parameters()).device

    @torch.inference_mode()
    def encode_phrase(self, ids: Tensor, real: Tensor) -> EncodedPhrase:
        """Token ids 1 x L, and which are real, 1 x L -> the phrase, on its own."""
        ids, real = ids.to(self.device), real.to(self.device)
        words = self.network.get_text_features(input_ids=ids, attention_mask=real, return_dict=True)
        return EncodedPhrase(words.pooler_output, real)

    @torch.inference_mode()
    def encode_pictures(self, pixels: Tensor) -> EncodedPictures:
        """Normalised pixels B x 3 x S x S -> images, whatever will be asked."""
        is_lower = self.dtype is not torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=is_lower):
            seen = self.network.vision_encoder(pixels.to(self.device))
        return EncodedPictures(
            tuple(level.float() for level in seen.fpn_hidden_states),
            tuple(places.float() for places in seen.fpn_position_encoding),
        )

    @torch.inference_mode()
    def find(
        self,
        pictures: EncodedPictures,
        phrase: EncodedPhrase,
        boxes: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Found:
        """What a phrase finds, with examples: boxes B x N x 4 cxcywh in 0..1, labels B x N."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        count = len(pictures)
        found = self.network(
            vision_embeds=Sam3VisionEncoderOutput(
                fpn_hidden_states=pictures.levels, fpn_position_encoding=pictures.places
            ),
            text_embeds=BaseModelOutputWithPooling(
                pooler_output=phrase.features.expand(count, -1, -1)
            ),
            attention_mask=phrase.real.expand(count, -1),
            input_boxes=None if boxes is None else boxes.to(self.device),
            input_boxes_labels=None if labels is None else labels.to(self.device),
        )
        # Whether the phrase is in the image at all, times whether it is in this place.
        scores = found.presence_logits.sigmoid() * found.pred_logits.sigmoid()
        return Found(found.pred_boxes, scores, found.pred_masks)
