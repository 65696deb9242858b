"""The data that flows between the rooms: prompts, embeddings, mask candidates, detections.

Every type is a frozen dataclass whose arrays are checked once, when it is made. "Nothing" is an
array of length 0, never None.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perception.checks import MAX_SHOWN, checked_array, checked_count, shortened
from perception.errors import DataError, PromptError

if TYPE_CHECKING:
    from perception.imaging.preprocess import Frame

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]

MASKS = 4
"""A segmenter's answers to one prompt: the single-mask answer and three candidates."""

SINGLE_MASK = 0
"""Index of the single-mask answer in a ``MaskCandidates``; 1, 2 and 3 are the ambiguous ones."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """What to segment in one image, in pixels of the original image.

    All points together are one prompt. Each box is a prompt of its own. Points together with one
    box refine that box. ``mask_logits`` is an earlier answer, fed back.

    points: K x 2 (x, y); point_labels: K, 1 = in, 0 = out (default: all 1); boxes: N x 4 xyxy;
    mask_logits: N x h x w, low-resolution logits of an earlier decode of the same image, or None.
    """

    points: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    point_labels: IntArray | None = None
    boxes: FloatArray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    mask_logits: FloatArray | None = None

    def __post_init__(self) -> None:
        points = checked_array("points", self.points, np.float32, (None, 2), PromptError)
        boxes = checked_array("boxes", self.boxes, np.float32, (None, 4), PromptError)
        labels = _checked_labels(
            self.point_labels, len(points), "points", "a point's label is 1 (in) or 0 (out)"
        )
        if not (np.isfinite(points).all() and np.isfinite(boxes).all()):
            raise PromptError("points and boxes are finite numbers in pixels; got inf or nan")
        for x0, y0, x1, y1 in boxes:
            if x1 <= x0 or y1 <= y0:
                raise PromptError(
                    f"box {x0:g},{y0:g},{x1:g},{y1:g} is empty: "
                    "a box is x0,y0,x1,y1 with x0 < x1 and y0 < y1"
                )
        if len(points) and len(boxes) > 1:
            raise PromptError(
                f"points refine one box, not {len(boxes)}: give one box, or no points"
            )
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "point_labels", labels)
        object.__setattr__(self, "boxes", boxes)
        if self.mask_logits is not None:
            masks = checked_array(
                "mask_logits", self.mask_logits, np.float32, (None, None, None), PromptError
            )
            if len(masks) != len(self):
                raise PromptError(f"{len(self)} prompts need as many mask_logits, got {len(masks)}")
            object.__setattr__(self, "mask_logits", masks)

    def __len__(self) -> int:
        """How many prompts this is: one per box, or one for the points, or none."""
        return len(self.boxes) or int(len(self.points) > 0)

    @property
    def is_ambiguous(self) -> bool:
        """One lone point can mean a part, a thing or a group; anything more says which."""
        return len(self.points) == 1 and not len(self.boxes) and self.mask_logits is None


@dataclass(frozen=True, eq=False)
class Examples:
    """Boxes in one image that show a detector what is meant, and what isn't.

    boxes: N x 4 xyxy in pixels of the original image; labels: N, 1 = such a thing, 0 = none
    (default: all 1). Raises PromptError for boxes that make no sense, or for none.
    """

    boxes: FloatArray
    labels: IntArray | None = None

    def __post_init__(self) -> None:
        boxes = Prompt(boxes=self.boxes).boxes  # checked
        labels = _checked_labels(
            self.labels, len(boxes), "examples", "an example's label is 1 (such a thing) or 0"
        )
        if not len(boxes):
            raise PromptError("examples are boxes x0,y0,x1,y1 in the image; got none")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Embedding:
    """One image, encoded once by a segmenter; made by ``encode``, read by ``decode``.

    features: C x h x w, or a tuple of several such levels; frame: how the image was fitted into
    the model; model: who encoded it, so that another model's decoder refuses it; prepared: what
    this runtime's decoder made of the features, which it makes again where this is missing (an
    embedding from a file, say).
    """

    features: Any
    frame: Frame
    model: str
    prepared: Any = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class MaskCandidates:
    """What a segmenter answers to N prompts on one image.

    logits: N x 4 x h x w, low-resolution logits in the model's frame, a mask where they are > 0.
    quality: N x 4, the IoU with the truth that the model predicts for each.
    Index 0 is the single-mask answer, 1 to 3 are the candidates for an ambiguous prompt.
    """

    logits: FloatArray
    quality: FloatArray
    frame: Frame
    ambiguous: bool

    def __post_init__(self) -> None:
        logits = checked_array("logits", self.logits, np.float32, (None, 4, None, None))
        object.__setattr__(self, "logits", logits)
        object.__setattr__(
            self, "quality", checked_array("quality", self.quality, np.float32, (len(logits), 4))
        )

    def __len__(self) -> int:
        return len(self.logits)

    def best(self) -> IntArray:
        """The index of the answer to show for each prompt, N.

        The best of the three candidates for an ambiguous prompt, else the single-mask answer.
        """
        if not self.ambiguous:
            return np.full(len(self), SINGLE_MASK, np.int64)
        best: IntArray = self.quality[:, 1:].argmax(axis=1) + 1
        return best

    def masks(self, index: IntArray | None = None) -> BoolArray:
        """Masks N x H x W of the original image; ``index`` (N) picks candidates, default best."""
        index = self.best() if index is None else np.asarray(index, np.int64)
        return self.frame.logits_to_masks(self.logits[np.arange(len(self)), index])


@dataclass(frozen=True, eq=False)
class Proposals:
    """Masks that a segmenter proposes for many lone points on one image.

    logits: K x h x w, low-resolution logits in the model's frame, a mask where they are > 0;
    quality: K, the IoU with the truth that the model predicts; prompt_ids: K, which point;
    candidate_ids: K, 1, 2 or 3, as in ``MaskCandidates``. Sorted by point, then by candidate.
    """

    logits: FloatArray
    quality: FloatArray
    prompt_ids: IntArray
    candidate_ids: IntArray
    frame: Frame

    def __post_init__(self) -> None:
        logits = checked_array("logits", self.logits, np.float32, (None, None, None))
        object.__setattr__(self, "logits", logits)
        for name, dtype in (
            ("quality", np.float32),
            ("prompt_ids", np.int64),
            ("candidate_ids", np.int64),
        ):
            value = checked_array(name, getattr(self, name), dtype, (len(logits),))
            object.__setattr__(self, name, value)
        if not np.isin(self.candidate_ids, (1, 2, 3)).all():
            raise DataError(f"candidate_ids are 1, 2 or 3, got {self.candidate_ids.tolist()}")
        places = self.prompt_ids * 4 + self.candidate_ids
        if (np.diff(places) <= 0).any():
            raise DataError("proposals are sorted by point, then by candidate, each once")

    def __len__(self) -> int:
        return len(self.logits)


@dataclass(frozen=True, eq=False)
class BoxMasks:
    """The masks that a detector gives with its K boxes, if it is a segmenter as well.

    logits: K x h x w, low-resolution logits in the frame, a mask where they are > 0.
    """

    logits: FloatArray
    frame: Frame

    def __post_init__(self) -> None:
        logits = checked_array("logits", self.logits, np.float32, (None, None, None))
        object.__setattr__(self, "logits", logits)

    def __len__(self) -> int:
        return len(self.logits)

    def __getitem__(self, index: Any) -> BoxMasks:
        """The masks that a slice, an index array or a boolean array picks."""
        return BoxMasks(self.logits[index], self.frame)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every box of one image that some phrase scores high enough, before any is given a label.

    boxes: K x 4 xyxy in pixels of the original image; scores: K x P, of each asked phrase, in
    0..1; queries: K, which of the detector's places a box is of: one place has the same box
    whatever else is asked, if the detector's phrases are independent; masks: the boxes' own, K, of
    a detector that is a segmenter as well.
    """

    boxes: FloatArray
    scores: FloatArray
    queries: IntArray
    masks: BoxMasks | None = None

    def __post_init__(self) -> None:
        boxes = checked_array("boxes", self.boxes, np.float32, (None, 4))
        object.__setattr__(self, "boxes", boxes)
        scores = np.asarray(self.scores, np.float32)
        if scores.ndim != 2 or len(scores) != len(boxes):
            raise DataError(f"scores: expected {len(boxes)} x ?, got {scores.shape}")
        object.__setattr__(self, "scores", scores)
        queries = checked_array("queries", self.queries, np.int64, (len(boxes),))
        object.__setattr__(self, "queries", queries)
        _check_masks(self.masks, len(boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Candidates:
        """The candidates that a slice, an index array or a boolean array picks."""
        masks = None if self.masks is None else self.masks[index]
        return Candidates(self.boxes[index], self.scores[index], self.queries[index], masks)


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes that a detector found in one image for the classes that it was asked for.

    boxes: N x 4 xyxy in pixels of the original image; scores: N in 0..1; class_ids: N, index
    into the asked classes; phrase_ids: N, index into the asked phrases; runner_up: N, class id of
    the next best class (-1 where there is no other class); margin: N, score less the runner-up's;
    masks: as in ``Candidates``. Sorted by falling score.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: IntArray
    phrase_ids: IntArray
    runner_up: IntArray
    margin: FloatArray
    masks: BoxMasks | None = None

    def __post_init__(self) -> None:
        boxes = checked_array("boxes", self.boxes, np.float32, (None, 4))
        object.__setattr__(self, "boxes", boxes)
        for name, dtype in (
            ("scores", np.float32),
            ("class_ids", np.int64),
            ("phrase_ids", np.int64),
            ("runner_up", np.int64),
            ("margin", np.float32),
        ):
            value = checked_array(name, getattr(self, name), dtype, (len(boxes),))
            object.__setattr__(self, name, value)
        _check_masks(self.masks, len(boxes))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Detections:
        """The detections that a slice, an index array or a boolean array picks."""
        return Detections(
            self.boxes[index],
            self.scores[index],
            self.class_ids[index],
            self.phrase_ids[index],
            self.runner_up[index],
            self.margin[index],
            None if self.masks is None else self.masks[index],
        )

    def clipped(self, image_hw: tuple[int, int]) -> Detections:
        """The detections, cut at the image's edges; those wholly outside are left out."""
        height, width = image_hw
        limits = np.array([width, height, width, height], np.float32)
        inside = replace(self, boxes=np.clip(self.boxes, 0, limits))
        return inside[(inside.boxes[:, 2:] > inside.boxes[:, :2]).all(axis=1)]

    @classmethod
    def empty(cls) -> Detections:
        """Nothing found."""
        floats, ints = np.zeros(0, np.float32), np.zeros(0, np.int64)
        return cls(np.zeros((0, 4), np.float32), floats, ints, ints, ints, floats)


def _checked_labels(labels: ArrayLike | None, count: int, of: str, rule: str) -> IntArray:
    """Return the labels of ``count`` points or examples, each 0 or 1; all 1 where there are none.

    of: what they are labels of; rule: what is said of any other number, which is never cut to one.
    """
    if labels is None:
        return np.ones(count, np.int64)
    array = checked_array("labels", labels, np.float64, (None,), PromptError)
    if len(array) != count:
        raise PromptError(f"{count} {of} need as many labels, got {len(array)}")
    if not np.isin(array, (0, 1)).all():
        given = ", ".join(f"{label:g}" for label in array[:MAX_SHOWN].tolist())
        raise PromptError(f"{rule}, got [{given}]")
    return array.astype(np.int64)


def _check_masks(masks: BoxMasks | None, count: int) -> None:
    if masks is not None and len(masks) != count:
        raise DataError(f"{count} boxes with masks need as many: {len(masks)}")


@dataclass(frozen=True)
class Rle:
    """One mask as COCO's compressed run lengths. size: (height, width)."""

    size: tuple[int, int]
    counts: str

    def __post_init__(self) -> None:
        if not (isinstance(self.size, tuple) and len(self.size) == 2):
            raise DataError(f"an Rle's size is (height, width), got {shortened(self.size)}")
        for name, side in zip(("height", "width"), self.size, strict=True):
            checked_count(f"an Rle's {name}", side, 0, DataError)
        if not isinstance(self.counts, str):
            raise DataError(
                f"an Rle's counts are COCO's compressed text, got {shortened(self.counts)}"
            )
