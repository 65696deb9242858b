"""A model that can be called: a detector and a segmenter, and images from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, overload

from numpy.typing import ArrayLike

from perception import __version__
from perception.defaults import (
    CROP_LAYERS,
    CROP_OVERLAP,
    MAX_PIXELS,
    MIN_AREA,
    MIN_REGION,
    NMS,
    POINTS_PER_BATCH,
    POINTS_PER_SIDE,
    STABILITY_OFFSET,
    THRESHOLD,
)
from perception.detectors.protocol import (
    Detector,
    as_examples,
    check_examples,
    examples_info,
    shown,
)
from perception.detectors.tiled import tile_side
from perception.errors import PromptError, WeightsError
from perception.imaging.read import ImageSource
from perception.instances import Instances
from perception.models.inference import ask, infer_batch, noted, read_source
from perception.models.missing import MissingDetector, MissingSegmenter
from perception.ops.windows import TileSize
from perception.pipeline import find_boxes, find_masks, segment_prompt
from perception.predictor.everything import find_everything
from perception.predictor.everything_settings import SAM_LIMITS, EverythingSettings, MaskLimits
from perception.predictor.interactive import InteractiveSession
from perception.predictor.predictions import LowResMask
from perception.predictor.protocol import EncodedImage, MaskPredictor
from perception.prompts.grammar import PromptText, parse
from perception.runtime.batching import AdaptiveBatcher, Stopwatch
from perception.segmenters.protocol import Segmenter
from perception.types import Examples, ImageArray, Prompt

ImageSources = list[ImageSource] | tuple[ImageSource, ...]


@dataclass(frozen=True, repr=False)
class Model:
    """A detector and a segmenter that work together.

    ``model(image, "red star. cat")`` chains them; ``detect`` gives boxes only; ``segment``
    answers points and boxes; ``everything`` needs no question. An image is a path, the bytes of a
    file, a Pillow image or a uint8 array; a list of images gives a list of results, the same as
    one call each.
    weights: sha256 of the model files by name, precision: what it computes in, both for the record
    in a result's ``info``. examples: what the detector was shown. batches: how many images go
    into one call, which shrinks when memory runs out. limits: what ``everything`` asks of the
    segmenter's masks unless it is told otherwise.
    """

    detector: Detector
    predictor: MaskPredictor
    weights: Mapping[str, str] = field(default_factory=dict)
    precision: str = "fp32"
    batches: AdaptiveBatcher = field(default_factory=AdaptiveBatcher, compare=False, repr=False)
    examples: Examples | None = None
    limits: MaskLimits = SAM_LIMITS

    @property
    def segmenter(self) -> Segmenter:
        """The network that ``predictor`` runs."""
        return self.predictor.segmenter

    def __post_init__(self) -> None:
        for part, method in (("detector", "candidates"), ("predictor", "encode")):
            if not callable(getattr(getattr(self, part), method, None)):
                raise WeightsError(
                    f"{part} has no method {method}, got {getattr(self, part)!r}: "
                    "pc.load(NAME) loads a model by its name"
                )

    def __repr__(self) -> str:
        parts = (self.detector, self.segmenter)
        # SAM 3 is both.
        names = dict.fromkeys(
            part.name for part in parts if not isinstance(part, (MissingDetector, MissingSegmenter))
        )
        shown = "" if self.examples is None else f", shown {len(self.examples)} examples"
        return f"<Model: {' + '.join(names)}, {self.precision}{shown}>"

    @overload
    def __call__(
        self,
        image: ImageSource,
        text: PromptText | None = ...,
        *,
        examples: ArrayLike = ...,
        not_examples: ArrayLike = ...,
        threshold: float = ...,
        tile: TileSize = ...,
        drop_nested: bool = ...,
        disjoint: bool = ...,
        max_pixels: int = ...,
    ) -> Instances: ...

    @overload
    def __call__(
        self,
        image: ImageSources,
        text: PromptText | None = ...,
        *,
        examples: ArrayLike = ...,
        not_examples: ArrayLike = ...,
        threshold: float = ...,
        tile: TileSize = ...,
        drop_nested: bool = ...,
        disjoint: bool = ...,
        max_pixels: int = ...,
    ) -> list[Instances]: ...

    def __call__(
        self,
        image: ImageSource | ImageSources,
        text: PromptText | None = None,
        *,
        examples: ArrayLike = (),
        not_examples: ArrayLike = (),
        threshold: float = THRESHOLD,
        tile: TileSize = None,
        drop_nested: bool = False,
        disjoint: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Instances | list[Instances]:
        """Finds what ``text`` names and cuts it out.

        text: the prompt grammar of ``perception.prompts.grammar``, a list of names, or a dict of
        classes with phrases. examples, not_examples: N x 4 xyxy, boxes in the image of what is
        meant and of what isn't, for models that take them; then the text may be left out, or names
        one class. threshold: the least score of a phrase, 0..1; higher finds less and errs less.
        tile: look at a large image in overlapping tiles, too: their side in pixels, or "auto".
        drop_nested: leave out masks that are a part of a larger one of their class; disjoint: give
        each pixel to one instance. Raises PromptError for the text or the tile, ImageError for a
        image.
        """
        model, asked = self._shown(text, examples, not_examples, tile)

        side = tile_side(model.detector, tile)

        def find(detector: Detector, one: ImageArray) -> Instances:
            return find_masks(
                detector,
                self.predictor,
                one,
                asked,
                threshold=threshold,
                tile=side or None,
                drop_nested=drop_nested,
                disjoint=disjoint,
            )

        chosen = chosen_info(tile=side, drop_nested=drop_nested, disjoint=disjoint)
        info = model.info(text=asked, threshold=threshold, **chosen)
        return model._find(image, find, info, max_pixels)

    @overload
    def detect(
        self,
        image: ImageSource,
        text: PromptText | None = ...,
        *,
        examples: ArrayLike = ...,
        not_examples: ArrayLike = ...,
        threshold: float = ...,
        tile: TileSize = ...,
        max_pixels: int = ...,
    ) -> Instances: ...

    @overload
    def detect(
        self,
        image: ImageSources,
        text: PromptText | None = ...,
        *,
        examples: ArrayLike = ...,
        not_examples: ArrayLike = ...,
        threshold: float = ...,
        tile: TileSize = ...,
        max_pixels: int = ...,
    ) -> list[Instances]: ...

    def detect(
        self,
        image: ImageSource | ImageSources,
        text: PromptText | None = None,
        *,
        examples: ArrayLike = (),
        not_examples: ArrayLike = (),
        threshold: float = THRESHOLD,
        tile: TileSize = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Instances | list[Instances]:
        """Finds what ``text`` names, boxes only; otherwise as calling the model."""
        model, asked = self._shown(text, examples, not_examples, tile)

        side = tile_side(model.detector, tile)

        def find(detector: Detector, one: ImageArray) -> Instances:
            return find_boxes(detector, one, asked, threshold=threshold, tile=side or None)

        chosen = chosen_info(tile=side, drop_nested=False, disjoint=False)
        info = model.info(masks=False, text=asked, threshold=threshold, **chosen)
        return model._find(image, find, info, max_pixels)

    def _shown(
        self,
        text: PromptText | None,
        examples: ArrayLike,
        not_examples: ArrayLike,
        tile: TileSize,
    ) -> tuple[Model, PromptText]:
        """The model that was shown the examples, if there are any, and what to ask it."""
        boxes = as_examples(examples, not_examples)
        check_examples(boxes, text, tile)
        if boxes is None:
            asked: PromptText = "" if text is None else text
            parse(asked)  # Says what is wrong before an image is read.
            return self, asked
        detector, asked = shown(self.detector, boxes, text)
        parse(asked)
        return replace(self, detector=detector, examples=boxes), asked

    def _find(
        self,
        image: ImageSource | ImageSources,
        find: Callable[[Detector, ImageArray], Instances],
        info: dict[str, Any],
        max_pixels: int,
    ) -> Instances | list[Instances]:
        """Puts a question about text to one image, or to many."""
        if not isinstance(image, (list, tuple)):
            return self._ask(image, lambda pixels: find(self.detector, pixels), info, max_pixels)
        found = infer_batch(
            image, find, detector=self.detector, batches=self.batches, max_pixels=max_pixels
        )
        return [replace(one, info=info) for one in found]

    def _ask(
        self,
        image: ImageSource,
        work: Callable[[ImageArray], Instances],
        info: dict[str, Any],
        max_pixels: int,
    ) -> Instances:
        found = ask(image, work, batches=self.batches, max_pixels=max_pixels)
        return replace(found, info=info)

    def encode(self, image: ImageSource, *, max_pixels: int = MAX_PIXELS) -> EncodedImage:
        """Return an image that ``segment`` and ``interactive`` take in place of a source.

        What prompts need of it is encoded once. Raises ImageError for the image.
        """
        pixels, file_name = read_source(image, max_pixels)
        return self.predictor.encode(pixels, file_name=file_name)

    def interactive(
        self, image: ImageSource | EncodedImage, *, max_pixels: int = MAX_PIXELS
    ) -> InteractiveSession:
        """Return a session of clicks on an image, each correcting the mask before it."""
        if isinstance(image, EncodedImage):
            return InteractiveSession(image)
        return InteractiveSession(self.encode(image, max_pixels=max_pixels))

    def segment(
        self,
        image: ImageSource | EncodedImage,
        *,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        previous: LowResMask | None = None,
        candidates: bool = False,
        label: str = "object",
        max_pixels: int = MAX_PIXELS,
    ) -> Instances:
        """Return the masks of points or boxes; the predicted quality of a mask is its score.

        Args:
            image: An image, or one that ``encode`` has returned.
            points: K x 2 (x, y) in pixels of the image, all together one prompt.
            point_labels: K, 1 = in, 0 = out; all 1 by default.
            boxes: N x 4 xyxy, each a prompt of its own, or one that the points refine.
            previous: The mask that the last of the points corrects.
            candidates: Return all three masks of a lone point, best first.
            label: The class of the masks.
            max_pixels: The largest image that is read.

        No points and no boxes, as of a detector that found nothing, give an empty result.

        Raises:
            PromptError: The prompt can't be used, or none is given.
            ImageError: The image can't be read.
        """
        if points is None and boxes is None:
            raise PromptError(
                "segment needs points=[(x, y)] or boxes=[(x0, y0, x1, y1)]; to find what a text "
                'names, call the model: model(image, "cat. dog")'
            )
        if not isinstance(label, str):
            raise PromptError(f"label is what to call the results, a string, got {label!r}")
        none: ArrayLike = ()
        prompt = Prompt(
            none if points is None else points,  # type: ignore[arg-type]  # it converts
            point_labels,  # type: ignore[arg-type]
            none if boxes is None else boxes,  # type: ignore[arg-type]
        )

        def answer(encoded: EncodedImage, watch: Stopwatch | None = None) -> Instances:
            return segment_prompt(
                encoded,
                prompt,
                previous=previous,
                candidates=candidates,
                label=label,
                watch=watch,
            )

        info = self.info(prompt=_listed(prompt))
        if isinstance(image, EncodedImage):
            return noted(answer(image), image.image, image.file_name, {}, info)

        def work(pixels: ImageArray) -> Instances:
            watch = Stopwatch()
            return answer(self.predictor.encode(pixels, watch=watch), watch)

        return self._ask(image, work, info, max_pixels)

    def everything(
        self,
        image: ImageSource,
        *,
        points_per_side: int = POINTS_PER_SIDE,
        grid: ArrayLike | None = None,
        points_per_batch: int = POINTS_PER_BATCH,
        quality: float | None = None,
        stability: float | None = None,
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

        Every mask is an "object"; its score is the quality that the segmenter predicts. quality,
        stability: None for what suits the model, ``limits``. The result's ``dropped`` says how many
        candidates fell at which limit. step:
        called after each batch of points, with their number. Raises PromptError for a setting,
        ImageError for the image.
        """
        if step is not None and not callable(step):
            raise PromptError(f"step is called after each batch of points, got {step!r}")
        settings = EverythingSettings(
            points_per_side=points_per_side,
            grid=grid,
            points_per_batch=points_per_batch,
            quality=self.limits.quality if quality is None else quality,
            stability=self.limits.stability if stability is None else stability,
            stability_offset=stability_offset,
            nms=nms,
            crop_layers=crop_layers,
            crop_nms=crop_nms,
            crop_overlap=crop_overlap,
            crop_downscale=crop_downscale,
            min_region=min_region,
            min_area=min_area,
        )
        return self._ask(
            image,
            lambda pixels: find_everything(self.predictor, pixels, settings, step=step),
            self.info(everything=settings.to_info()),
            max_pixels,
        )

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
            **({"precision": self.precision} if self.precision != "fp32" else {}),
            **examples_info(self.examples),
            **asked,
        }


def chosen_info(*, tile: int, drop_nested: bool, disjoint: bool) -> dict[str, Any]:
    """What a result's ``info`` says of these choices: only of those that aren't the usual ones."""
    choices = {"tile": tile, "drop_nested": drop_nested, "disjoint": disjoint}
    return {name: choice for name, choice in choices.items() if choice}


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
