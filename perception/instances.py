"""Instances: what was found in one image, the product's result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from perception.checks import checked_array
from perception.errors import DataError, MissingExtraError
from perception.ops.masks import rle_area, rle_to_mask
from perception.prompts.grammar import Phrases
from perception.types import BoolArray, Detections, FloatArray, ImageArray, IntArray, Rle

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

# The type of each array, and the shape of one instance's part.
_PER_INSTANCE: Mapping[str, tuple[Any, tuple[int, ...]]] = MappingProxyType(
    {
        "scores": (np.float32, ()),
        "class_ids": (np.int64, ()),
        "quality": (np.float32, ()),
        "stability": (np.float32, ()),
        "runner_up": (np.int64, ()),
        "margin": (np.float32, ()),
        "prompt_ids": (np.int64, ()),
        "parent": (np.int64, ()),
        "points": (np.float32, (2,)),
        "crop_boxes": (np.float32, (4,)),
    }
)
_ONLY_BOXES = "only boxes were asked for, so there are no masks: segment instead"


@dataclass(frozen=True, eq=False, repr=False)
class Instance:
    """One thing that was found in an image: what ``for instance in result`` gives.

    label: its class name; class_id: index into the result's ``classes``; score: 0..1, nan where no
    model gave one; box: 4 (xyxy), half-open, float32; rle: its mask as run lengths, None where only
    boxes were asked for.
    """

    label: str
    class_id: int
    score: float
    box: FloatArray
    rle: Rle | None = None

    def __repr__(self) -> str:
        box = ", ".join(f"{side:g}" for side in self.box.tolist())
        return f"<Instance: {self.label} {self.score:.2f}, box [{box}]>"

    @property
    def mask(self) -> BoolArray:
        """The mask at full size, H x W. Raises DataError where only boxes were asked for."""
        if self.rle is None:
            raise DataError(_ONLY_BOXES)
        return rle_to_mask(self.rle)

    @property
    def area(self) -> float:
        """The area in pixels: of the mask, or of the box where there is none."""
        if self.rle is not None:
            return float(rle_area(self.rle))
        x0, y0, x1, y1 = self.box.tolist()
        return float((x1 - x0) * (y1 - y0))


@dataclass(frozen=True, eq=False, repr=False)
class Instances:
    """What was found in one image.

    An index or a slice picks some of them, as ``Instances`` again; a loop gives each as an
    ``Instance``.

    image_hw: (H, W); classes: all that were asked for, also those not found; boxes: N x 4 xyxy,
    half-open, tight around the mask (the detector's box where there are no masks); scores: N in
    0..1, nan where no model gave one; class_ids: N, index into ``classes``; rles: N masks, or none
    where only boxes were asked for. Where they apply, also: quality (the IoU that the segmenter
    predicts), stability (how little the mask depends on its threshold), runner_up (next best class
    id, -1 for none), margin (score less the runner-up's), prompt_ids (which phrase or prompt it
    answers), parent (the index of the smallest instance that its mask is a part of, -1 for none),
    each N; points N x 2 and crop_boxes N x 4 xyxy (where segment-everything asked for it, and in
    which crop); origins N (who made it: "model", "hand" or, of both, "corrected"); asked, the
    classes that a model was asked for where these aren't all: of the others nothing is known if
    none is found; best_scores, the highest score that each class could be given in the image,
    found or not (classes that no box scores ``defaults.FLOOR`` for aren't listed); dropped, how
    many candidates of segment-everything fell at which limit.
    ``image`` is kept to draw on; uid names the image by its content; info says how the result
    was made, seconds how long each stage took. Raises DataError if the parts don't fit together.
    """

    image_hw: tuple[int, int]
    classes: tuple[str, ...]
    boxes: FloatArray
    scores: FloatArray
    class_ids: IntArray
    rles: tuple[Rle, ...] = ()
    quality: FloatArray | None = None
    stability: FloatArray | None = None
    runner_up: IntArray | None = None
    margin: FloatArray | None = None
    prompt_ids: IntArray | None = None
    parent: IntArray | None = None
    points: FloatArray | None = None
    crop_boxes: FloatArray | None = None
    origins: tuple[str, ...] | None = None
    asked: tuple[str, ...] | None = None
    image: ImageArray | None = None
    file_name: str = ""
    uid: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    best_scores: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _checked_names(self.classes))
        boxes = checked_array("boxes", self.boxes, np.float32, (None, 4))
        object.__setattr__(self, "boxes", boxes)
        for name, (dtype, shape) in _PER_INSTANCE.items():
            if getattr(self, name) is not None:
                value = checked_array(name, getattr(self, name), dtype, (len(boxes), *shape))
                object.__setattr__(self, name, value)
        if len(boxes) and not 0 <= self.class_ids.min() <= self.class_ids.max() < len(self.classes):
            raise DataError(
                f"class_ids index the {len(self.classes)} classes, got {self.class_ids.tolist()}"
            )
        if self.parent is not None:
            _check_parents(self.parent)
        if self.rles and len(self.rles) != len(boxes):
            raise DataError(f"{len(boxes)} boxes need as many masks, or none: {len(self.rles)}")
        if self.origins is not None and len(self.origins) != len(boxes):
            raise DataError(f"{len(boxes)} boxes need as many origins: {len(self.origins)}")
        if not all(isinstance(rle, Rle) for rle in self.rles):
            raise DataError(
                "a mask of Instances is an Rle: perception.ops.masks.mask_to_rle makes one"
            )
        sizes = {rle.size for rle in self.rles}
        if sizes - {self.image_hw}:
            raise DataError(f"masks of {sizes} on an image of {self.image_hw}")
        shape = np.shape(self.image) if self.image is not None else (*self.image_hw, 3)
        if shape != (*self.image_hw, 3):
            raise DataError(f"expected an image of {self.image_hw}, got {shape}")

    @classmethod
    def empty(cls, image_hw: tuple[int, int], classes: Sequence[str] = ()) -> Instances:
        """Nothing found in an image of (height, width)."""
        floats, ints = np.zeros(0, np.float32), np.zeros(0, np.int64)
        return cls(image_hw, tuple(classes), np.zeros((0, 4), np.float32), floats, ints)

    @classmethod
    def detected(cls, found: Detections, phrases: Phrases, image: ImageArray) -> Instances:
        """What a detector found for the phrases in an image H x W x 3: boxes within it."""
        found = found.clipped((image.shape[0], image.shape[1]))
        return cls(
            image_hw=(image.shape[0], image.shape[1]),
            classes=phrases.classes,
            boxes=found.boxes,
            scores=found.scores,
            class_ids=found.class_ids,
            runner_up=found.runner_up,
            margin=found.margin,
            prompt_ids=found.phrase_ids,
            image=image,
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Instance]:
        for n, label in enumerate(self.labels):
            yield Instance(
                label=label,
                class_id=int(self.class_ids[n]),
                score=float(self.scores[n]),
                box=self.boxes[n],
                rle=self.rles[n] if self.rles else None,
            )

    def __repr__(self) -> str:
        height, width = self.image_hw
        some = [
            f"{label} {score:.2f}"
            for label, score in zip(self.labels[:5], self.scores[:5], strict=True)
        ]
        more = ["..."] if len(self) > 5 else []
        found = ", ".join(some + more) or "nothing"
        return f"<Instances: {len(self)} in {width} x {height}: {found}>"

    def __getitem__(self, index: Any) -> Instances:
        """The instances that a slice, an index array or a boolean array picks.

        The parent of one whose own wasn't picked is the next one up that was.
        """
        picked = np.arange(len(self))[index].reshape(-1)
        parts = {
            name: getattr(self, name)[picked]
            for name in _PER_INSTANCE
            if getattr(self, name) is not None
        }
        if self.parent is not None:
            parts["parent"] = _picked_parents(self.parent, picked)
        rles = tuple(self.rles[i] for i in picked) if self.rles else ()
        if self.origins is not None:
            parts["origins"] = tuple(self.origins[i] for i in picked)
        return replace(self, boxes=self.boxes[picked], rles=rles, **parts)

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that were asked for and not found."""
        found = set(self.labels)
        asked = self.classes if self.asked is None else self.asked
        return tuple(name for name in asked if name not in found)

    @property
    def labels(self) -> tuple[str, ...]:
        """Each instance's class name, N."""
        return tuple(self.classes[class_id] for class_id in self.class_ids)

    @property
    def mask_scores(self) -> FloatArray:
        """Each score times the IoU that is predicted for the mask, N: by it masks are best ranked.

        A thing may be surely there and its mask poor (Huang et al. 2019, "Mask Scoring R-CNN").
        Where no quality is known, as of what a hand made, it is the score.
        """
        if self.quality is None:
            return self.scores
        quality = np.where(np.isnan(self.quality), 1, np.clip(self.quality, 0, 1))
        scores: FloatArray = (self.scores * quality).astype(np.float32)
        return scores

    @property
    def masks(self) -> BoolArray:
        """All masks at full size, N x H x W. ``rles`` holds the same in a fraction of the memory.

        Raises DataError where only boxes were asked for.
        """
        if len(self.rles) != len(self):
            raise DataError(_ONLY_BOXES)
        masks = np.zeros((len(self), *self.image_hw), np.bool_)
        for mask, rle in zip(masks, self.rles, strict=True):
            mask[:] = rle_to_mask(rle)
        return masks

    @property
    def areas(self) -> NDArray[np.float64]:
        """Each instance's area in pixels, N: of its mask, or of its box where there are none."""
        if self.rles:
            return np.array([rle_area(rle) for rle in self.rles], np.float64)
        areas: NDArray[np.float64] = np.prod(
            self.boxes[:, 2:] - self.boxes[:, :2], axis=1, dtype=np.float64
        )
        return areas

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to a file of the kind that its suffix names; return its path.

        ``.png``, ``.jpg`` and ``.webp`` hold the overlay, ``.json`` a COCO file, ``.csv`` a row for
        each instance.

        Raises:
            OutputError: For another suffix, or if the file can't be written.
            DataError: If the overlay is asked for and the image wasn't kept.
        """
        from perception.formats.display import save

        return save(self, path)

    def show(self) -> None:
        """Show the overlay: in a notebook below the cell, else in a window of an image viewer.

        Raises OutputError where there is no viewer.
        """
        from perception.formats.display import show

        show(self)

    def _repr_png_(self) -> bytes | None:
        from perception.formats.display import png

        return png(self)

    def _repr_html_(self) -> str:
        from perception.formats.display import html

        return html(self)

    def overlay(self, *, labels: bool | None = None) -> Image.Image:
        """The image with masks, outlines (or boxes) and labels drawn on it.

        labels: whether to write them (default: unless the masks are segment-everything's).
        """
        from perception.formats.draw import draw_overlay

        return Image.fromarray(draw_overlay(self, labels=labels))

    def to_coco(self, *, polygons: bool = False, simplify: float = 0.0) -> dict[str, Any]:
        """A COCO file's content for this one image.

        polygons: outlines in place of run lengths; simplify: how far these may be from the pixels'
        steps, in pixels, for fewer corners.
        """
        from perception.coco.write import to_coco

        return to_coco([self], polygons=polygons, simplify=simplify)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a ``pandas.DataFrame`` with a row for each instance and the columns of the CSV.

        Raises MissingExtraError without pandas.
        """
        from perception.formats.csv import to_dataframe

        return to_dataframe(self)

    def to_supervision(self) -> sv.Detections:
        """The same as ``supervision.Detections``: masks at full size, labels as ``class_name``.

        Raises MissingExtraError without the extra [supervision].
        """
        try:
            import supervision as sv
        except ImportError:
            raise MissingExtraError(
                "to_supervision() needs supervision: pip install 'perception-masks[supervision]'"
            ) from None

        return sv.Detections(
            xyxy=self.boxes.copy(),
            mask=self.masks if self.rles else None,
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"class_name": np.array(self.labels, dtype=str)},
        )


def _checked_names(classes: object) -> tuple[str, ...]:
    if not isinstance(classes, (tuple, list)) or not all(isinstance(n, str) for n in classes):
        raise DataError(f"classes are a tuple of names, got {classes!r}")
    return tuple(classes)


def _check_parents(parent: IntArray) -> None:
    """Raises DataError where N parents aren't other instances, or where some are in a ring."""
    if len(parent) and not -1 <= parent.min() <= parent.max() < len(parent):
        raise DataError(f"parent indexes the {len(parent)} instances, got {parent.tolist()}")
    at = parent
    for _ in range(len(parent)):
        if (at < 0).all():
            return
        at = np.where(at < 0, -1, parent[at])
    if (at >= 0).any():
        raise DataError(f"no instance is a part of itself, got the parents {parent.tolist()}")


def _picked_parents(parent: IntArray, picked: IntArray) -> IntArray:
    """The parents of some of N instances, as these are numbered."""
    places = np.full(len(parent) + 1, -1, np.int64)  # The last one is for those without a parent.
    places[picked[::-1]] = np.arange(len(picked))[::-1]
    at = parent[picked]
    while (gone := (at >= 0) & (places[at] < 0)).any():
        at = np.where(gone, parent[at], at)
    return places[at]
