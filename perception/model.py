"""A model that can be called: a detector and a segmenter, and pictures from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from perception.answers import answer
from perception.defaults import (
    CROP_LAYERS,
    CROP_OVERLAP,
    MAX_PIXELS,
    MIN_AREA,
    MIN_REGION,
    NMS,
    POINTS_PER_BATCH,
    POINTS_PER_SIDE,
    QUALITY,
    STABILITY,
    STABILITY_OFFSET,
    THRESHOLD,
)
from perception.detector.protocol import Detector
from perception.images import ImageSource, picture_uid, read_image
from perception.instances import Instances
from perception.phrases import PromptText
from perception.pipeline import find_boxes, find_masks
from perception.segmenter.everything import find_everything
from perception.segmenter.everything_settings import EverythingSettings
from perception.segmenter.protocol import Segmenter
from perception.stopwatch import Stopwatch
from perception.types import ImageArray, Prompt
from perception.version import __version__

ImageSources = list[ImageSource] | tuple[ImageSource, ...]


@dataclass(frozen=True)
class Model:
    """A detector and a segmenter that work together.

    ``model(picture, "red star. cat")`` chains them; ``detect`` gives boxes only; ``segment``
    answers points and boxes; ``everything`` needs no question. A picture is a path, the bytes of a
    file, a Pillow image or a uint8 array; a list of pictures gives a list of results, the same as
    one call each.
    weights: sha256 of the model files by name, for the record in a result's ``info``.
    """

    detector: Detector
    segmenter: Segmenter
    weights: Mapping[str, str] = field(default_factory=dict)

    @overload
    def __call__(
        self,
        image: ImageSource,
        text: PromptText,
        *,
        threshold: float = ...,
        max_pixels: int = ...,
    ) -> Instances: ...

    @overload
    def __call__(
        self,
        image: ImageSources,
        text: PromptText,
        *,
        threshold: float = ...,
        max_pixels: int = ...,
    ) -> list[Instances]: ...

    def __call__(
        self,
        image: ImageSource | ImageSources,
        text: PromptText,
        *,
        threshold: float = THRESHOLD,
        max_pixels: int = MAX_PIXELS,
    ) -> Instances | list[Instances]:
        """Finds what ``text`` names and cuts it out.

        text: the prompt grammar of ``perception.phrases``, a list of names, or a dict of classes
        with phrases. threshold: the least score of a phrase, 0..1; higher finds less and errs less.
        Raises PromptError for the text, ImageError for a picture.
        """
        if isinstance(image, (list, tuple)):
            return [self._find(one, text, threshold, max_pixels) for one in image]
        return self._find(image, text, threshold, max_pixels)

    @overload
    def detect(
        self,
        image: ImageSource,
        text: PromptText,
        *,
        threshold: float = ...,
        max_pixels: int = ...,
    ) -> Instances: ...

    @overload
    def detect(
        self,
        image: ImageSources,
        text: PromptText,
        *,
        threshold: float = ...,
        max_pixels: int = ...,
    ) -> list[Instances]: ...

    def detect(
        self,
        image: ImageSource | ImageSources,
        text: PromptText,
        *,
        threshold: float = THRESHOLD,
        max_pixels: int = MAX_PIXELS,
    ) -> Instances | list[Instances]:
        """Finds what ``text`` names, boxes only; otherwise as calling the model."""
        if isinstance(image, (list, tuple)):
            return [self._find(one, text, threshold, max_pixels, masks=False) for one in image]
        return self._find(image, text, threshold, max_pixels, masks=False)

    def _find(
        self,
        source: ImageSource,
        text: PromptText,
        threshold: float,
        max_pixels: int,
        *,
        masks: bool = True,
    ) -> Instances:
        def work(image: ImageArray) -> Instances:
            if masks:
                return find_masks(self.detector, self.segmenter, image, text, threshold=threshold)
            return find_boxes(self.detector, image, text, threshold=threshold)

        found = _on_picture(source, max_pixels, work)
        return replace(found, info=self.info(masks=masks, text=text, threshold=threshold))

    def segment(
        self,
        image: ImageSource,
        *,
        points: ArrayLike = (),
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike = (),
        candidates: bool = False,
        label: str = "object",
        max_pixels: int = MAX_PIXELS,
    ) -> Instances:
        """Cuts out what points or boxes show; the predicted quality of a mask is its score.

        points: K x 2 (x, y), all together one prompt; point_labels: K, 1 = in, 0 = out; boxes:
        N x 4 xyxy, each a prompt of its own, or one that the points refine. candidates: all three
        masks of a lone point, best first, not only the best one. label: what to call the results.
        Raises PromptError for a prompt that can't be used, ImageError for the picture.
        """
        prompt = Prompt(points, point_labels, boxes)  # type: ignore[arg-type]  # it converts
        found = _on_picture(
            image,
            max_pixels,
            lambda pixels: _answer(self.segmenter, pixels, prompt, candidates, label),
        )
        return replace(found, info=self.info(prompt=_listed(prompt)))

    def everything(
        self,
        image: ImageSource,
        *,
        points_per_side: int = POINTS_PER_SIDE,
        grid: ArrayLike | None = None,
        points_per_batch: int = POINTS_PER_BATCH,
        quality: float = QUALITY,
        stability: float = STABILITY,
        stability_offset: float = STABILITY_OFFSET,
        nms: float = NMS,
        crop_layers: int = CROP_LAYERS,
        crop_nms: float = NMS,
        crop_overlap: float = CROP_OVERLAP,
        crop_downscale: int = 1,
        min_region: int = MIN_REGION,
        min_area: int = MIN_AREA,
        max_pixels: int = MAX_PIXELS,
        step: Callable[[int], object] | None = None,
    ) -> Instances:
        """Cuts out all that a grid of points finds; ``EverythingSettings`` explains the settings.

        Every mask is an "object"; its score is the quality that the segmenter predicts. step:
        called after each batch of points, with their number. Raises PromptError for a setting,
        ImageError for the picture.
        """
        settings = EverythingSettings(
            points_per_side=points_per_side,
            grid=grid,
            points_per_batch=points_per_batch,
            quality=quality,
            stability=stability,
            stability_offset=stability_offset,
            nms=nms,
            crop_layers=crop_layers,
            crop_nms=crop_nms,
            crop_overlap=crop_overlap,
            crop_downscale=crop_downscale,
            min_region=min_region,
            min_area=min_area,
        )
        found = _on_picture(
            image,
            max_pixels,
            lambda pixels: find_everything(self.segmenter, pixels, settings, step=step),
        )
        return replace(found, info=self.info(everything=settings.to_info()))

    def info(self, *, masks: bool = True, **asked: Any) -> dict[str, Any]:
        """How a result is made: version, models, sha256 of their files, and what was asked."""
        names = {"detector": self.detector.name} if "text" in asked else {}
        names |= {"segmenter": self.segmenter.name} if masks else {}
        if "text" in asked:
            asked["text"] = _plain(asked["text"])
        return {
            "description": "made with perception",
            "version": __version__,
            **names,
            "weights": dict(self.weights),
            **asked,
        }


def _on_picture(
    source: ImageSource, max_pixels: int, work: Callable[[ImageArray], Instances]
) -> Instances:
    """Reads a picture, works on it, and notes its name, its uid and the time of reading."""
    watch = Stopwatch()
    with watch("read"):
        image = read_image(source, max_pixels=max_pixels)
    found = work(image)
    return replace(
        found,
        file_name=_file_name(source),
        uid=picture_uid(image),
        seconds={**watch.seconds, **found.seconds},
    )


def _file_name(source: ImageSource) -> str:
    """A relative POSIX path; of an absolute path only its last part; "" for what is no file."""
    if not isinstance(source, (str, os.PathLike)):
        return ""
    path = Path(source)
    return path.name if path.is_absolute() else path.as_posix()


def _answer(
    segmenter: Segmenter, image: ImageArray, prompt: Prompt, candidates: bool, label: str
) -> Instances:
    watch = Stopwatch()
    answers = answer(segmenter, image, prompt, candidates=candidates, watch=watch)
    height, width = image.shape[:2]
    return Instances(
        image_hw=(height, width),
        classes=(label,),
        boxes=answers.boxes,
        scores=np.clip(answers.quality, 0, 1),
        class_ids=np.zeros(len(answers.rles), np.int64),
        rles=answers.rles,
        quality=answers.quality,
        stability=answers.stability,
        prompt_ids=answers.prompt_ids,
        image=image,
        seconds=watch.seconds,
    )


def _listed(prompt: Prompt) -> dict[str, Any]:
    """Points and boxes as JSON can hold them; what isn't there is left out."""
    parts = {name: getattr(prompt, name) for name in ("points", "point_labels", "boxes")}
    return {name: part.tolist() for name, part in parts.items() if len(part)}


def _plain(text: PromptText) -> Any:
    """A prompt as JSON can hold it."""
    if isinstance(text, str):
        return text
    if isinstance(text, Mapping):
        return {name: _plain(phrases) for name, phrases in text.items()}
    return list(text)
