"""Clicks on one picture: what a click means, and what the next ones change.

A segmenter with a small input sees little of a small thing (``close_ups``). So it looks at a lone
click from three distances, and gives what it believes best from each: the three candidates are a
thing, what it is a part of, and so on. Once there is a mask, further clicks are answered in a view
of that mask, as Sofiiuk et al. 2020, "f-BRS", zoom in. Other segmenters answer all clicks in the
whole picture, as Kirillov et al. 2023, "Segment Anything", do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from perception.answers import Answers, answer, answer_of
from perception.close_ups import answer_in, closer_view, in_picture, together
from perception.frame import Frame
from perception.look import Look, is_near_sighted
from perception.masks import mask_to_box
from perception.obedience import CellClicks, bent, merged, obeyed
from perception.segmenter.protocol import Segmenter
from perception.stopwatch import Stopwatch
from perception.tiles import Tile
from perception.types import (
    MASKS,
    BoolArray,
    FloatArray,
    ImageArray,
    IntArray,
    MaskCandidates,
    Prompt,
)

_DISTANCES = (1.0, 0.3, 0.1)
"""How much of the picture's longer side is seen when a lone click is looked at."""

_LEAST_VIEW = 24
"""Pixels; a view around a click shows nothing less."""

_OUTSIDE = -10.0
"""The logits of an earlier mask where its view saw nothing: surely not the thing."""


@dataclass(frozen=True, eq=False)
class ClickMask:
    """One of the masks for some clicks on a picture.

    look: where it was seen; decoded: what the segmenter said there of this one prompt; index: which
    of the four masks this is. lone: whether it is for a lone click, so that the view doesn't follow
    a mask and may cut the thing. told: the clicks that it obeys, on the cells of its logits;
    before: the logits h x w of the mask before the last of them, in this view: what is far from
    that click stays so. See ``obedience``.
    """

    look: Look
    decoded: MaskCandidates
    index: int
    lone: bool = False
    told: CellClicks | None = None
    before: FloatArray | None = None

    @property
    def view(self) -> Tile:
        """The part of the picture in which it was seen."""
        return self.look.view

    @property
    def quality(self) -> float:
        """The IoU with the truth that the model predicts for the view, less what the edge cuts."""
        return float(self.decoded.quality[0, self.index]) * (1 - self.cut)

    @cached_property
    def logits(self) -> FloatArray:
        """Low-resolution logits h x w over a square with the view in its left upper corner."""
        logits: FloatArray = self.look.mend(self.decoded.logits[0, [self.index]])[0]
        if self.told is None:
            return logits
        if self.before is not None:
            logits = merged(logits, self.before, self.told)
        return bent(logits, self.told, self.look.cells_in_lab(logits.shape))

    @cached_property
    def cut(self) -> float:
        """The share of the view's edge, where the picture goes on, that the mask of a lone click
        touches: what touches it may be a part of something larger.
        """
        return _cut(self._view_mask(), self.view, self.look.image_hw) if self.lone else 0.0

    def mask(self) -> BoolArray:
        """H x W of the picture."""
        return self.view.pasted(self._view_mask(), self.look.image_hw)

    def _view_mask(self) -> BoolArray:
        mask: BoolArray = self.decoded.frame.logits_to_masks(self.logits[None])[0]
        return mask


def answer_points(
    segmenter: Segmenter,
    image: ImageArray,
    prompt: Prompt,
    *,
    candidates: bool = False,
    watch: Stopwatch | None = None,
) -> Answers:
    """The masks of points on a picture H x W x 3, perhaps with one box that they refine.

    See ``answers.answer``; closer views are encoded in the stage "decode".
    """
    watch = watch or Stopwatch()
    if not is_near_sighted(segmenter):
        return answer(segmenter, image, prompt, candidates=candidates, watch=watch)
    if len(prompt.boxes):
        image_hw = image.shape[0], image.shape[1]
        checked = Frame(image_hw, max(image_hw)).fit_prompt(prompt)
        corners = [checked.boxes[0, :2], checked.boxes[0, 2:], *checked.points, *checked.points + 1]
        around = np.concatenate([np.min(corners, axis=0), np.max(corners, axis=0)])
        view = closer_view(around, image_hw)
        return answer_in(view, segmenter, image, checked, watch=watch)
    with watch("encode"):
        clicker = Clicker(segmenter, image)
    with watch("decode"):
        found = clicker(prompt.points, np.asarray(prompt.point_labels))
        if not (candidates and prompt.is_ambiguous):
            found = found[:1]
        parts = [_answers(one) for one in found]
    return together(parts)


def _answers(one: ClickMask) -> Answers:
    found = answer_of(one.decoded, one.index, one.logits)
    found = in_picture(found, one.view, one.look.image_hw)
    return replace(found, quality=np.full(len(found.rles), one.quality, np.float32))


class Clicker:
    """Answers clicks on one picture H x W x 3, which is encoded once."""

    def __init__(self, segmenter: Segmenter, image: ImageArray) -> None:
        self._segmenter, self._image = segmenter, image
        self._first = self._last = Look(segmenter, image)
        self._whole = self._first.view

    def __call__(
        self, points: FloatArray, labels: IntArray, earlier: ClickMask | None = None
    ) -> list[ClickMask]:
        """The masks to choose from, the model's own choice first.

        points: K x 2 (x, y); labels: K, 1 = in, 0 = out; earlier: the mask that was chosen before
        the last click. Of a lone click the three candidates, best first; else the single-mask
        answer and then the candidates. Raises PromptError for a point outside the picture.
        """
        prompt = Prompt(points=points, point_labels=labels)
        if not is_near_sighted(self._segmenter):
            logits = None if earlier is None else earlier.logits[None]
            return self._masks(self._whole, Prompt(points, labels, mask_logits=logits))
        if prompt.is_ambiguous:
            return self._lone(prompt)
        known = earlier or self._masks(self._whole, prompt)[0]
        mask = known.mask()
        if not mask.any():
            return self._obedient(self._masks(self._whole, prompt), prompt)
        return self._closer(prompt, known, mask, is_before=earlier is not None)

    def _lone(self, prompt: Prompt) -> list[ClickMask]:
        """What is seen of a click from each distance, the best first."""
        longer = max(self._image.shape[:2])
        x, y = prompt.points[0]
        found = [self._masks(self._whole, prompt)[0]]
        for distance in _DISTANCES[1:]:
            side = max(round(longer * distance), _LEAST_VIEW)
            left, top = int(np.floor(x - side / 2)), int(np.floor(y - side / 2))
            one = self._masks(Tile(left, top, left + side, top + side), prompt)[0]
            found.append(replace(one, lone=True))
        found = [replace(one, told=_clicks_in(one, prompt)) for one in found]
        return sorted(found, key=lambda one: -one.quality)

    def _closer(
        self, prompt: Prompt, earlier: ClickMask, mask: BoolArray, *, is_before: bool
    ) -> list[ClickMask]:
        """In a view of the earlier mask and of what is to be in it; other clicks don't count.

        is_before: whether the last click came after that mask.
        """
        points, labels = prompt.points, np.asarray(prompt.point_labels)
        inside = points[labels > 0]
        box = mask_to_box(mask)
        low = np.min([box[:2], *inside], axis=0)
        high = np.max([box[2:], *(inside + 1)], axis=0)
        view = closer_view(np.concatenate([low, high]), self._whole[:1:-1])
        within = (points >= (view.x0, view.y0)) & (points < (view.x1, view.y1))
        seen = np.asarray(within.all(axis=1), np.bool_)
        logits = _logits_in(view, earlier)
        prompt = Prompt(points[seen], labels[seen], mask_logits=logits[None])
        # A last click far from all that is seen is no reason to change anything there.
        before = logits if is_before and seen[-1] else None
        return self._obedient(self._masks(view, prompt), prompt, before)

    def _obedient(
        self, found: list[ClickMask], prompt: Prompt, before: FloatArray | None = None
    ) -> list[ClickMask]:
        """The four masks of one prompt as they are told, those first that obey more clicks."""
        told = _clicks_in(found[0], prompt)
        indices = [one.index for one in found]
        logits = found[0].decoded.logits[0, indices]
        wrong = (~obeyed(logits, told)).sum(axis=1)
        order = np.argsort(wrong, kind="stable")
        return [replace(found[n], told=told, before=before) for n in order]

    def _masks(self, view: Tile, prompt: Prompt) -> list[ClickMask]:
        """The answers in one view; the prompt is in pixels of the picture."""
        look = self._first if view == self._whole else self._last
        if look.view != view:
            look = self._last = Look(self._segmenter, self._image, view)
        decoded = look.decode(prompt)
        order = np.arange(MASKS)
        if decoded.ambiguous:
            order = 1 + np.argsort(-decoded.quality[0, 1:], kind="stable")
        return [ClickMask(look, decoded, int(index)) for index in order]


def _clicks_in(one: ClickMask, prompt: Prompt) -> CellClicks:
    """A prompt's points, in pixels of the picture, on the cells of a mask's logits."""
    frame, cells = one.decoded.frame, one.decoded.logits.shape[-1]
    corner = np.array(one.view[:2], np.float32)
    places = frame.points_to_model(prompt.points - corner) * np.float32(cells / frame.side)
    return CellClicks(places, np.asarray(prompt.point_labels))


def _cut(mask: BoolArray, view: Tile, image_hw: tuple[int, int]) -> float:
    """The share of a square view's edge that lies in the picture and is in the mask h x w."""
    height, width = image_hw
    edges = (
        (mask[:, 0], view.x0 > 0),
        (mask[0], view.y0 > 0),
        (mask[:, -1], view.x1 < width),
        (mask[-1], view.y1 < height),
    )
    return float(sum(edge.mean() for edge, inside in edges if inside)) / len(edges)


def _logits_in(view: Tile, earlier: ClickMask) -> FloatArray:
    """The logits h x w of an earlier mask as another view has them."""
    import cv2

    before, logits = earlier.view, earlier.logits
    # Cell (i, j) of either is at (i + 0.5) · length / cells from the corner of its square.
    cells = logits.shape[-1]
    old, new = (max(v.x1 - v.x0, v.y1 - v.y0) / cells for v in (before, view))
    scale = new / old
    x, y = (
        (first - start + new / 2) / old - 0.5
        for first, start in ((view.x0, before.x0), (view.y0, before.y0))
    )
    warped = cv2.warpAffine(
        logits,
        np.array([[scale, 0, x], [0, scale, y]]),
        (cells, cells),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_OUTSIDE,
    )
    return warped.astype(np.float32, copy=False)
