"""The contract from prompt to mask: an image is encoded once, prompts are predicted on it.

::

    encoded = model.predictor.encode(image)
    first = encoded.predict(Prompt(points=[(320, 240)]))
    second = encoded.predict(
        Prompt(points=[(320, 240), (90, 60)], point_labels=[1, 0]), first[0].low_res
    )
    mask = second[0].mask()

All coordinates are pixels of the original image. What is encoded belongs to the ``EncodedImage``;
predictions are plain values that stay valid after it. An ``EncodedImage`` may be used by one thread
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from perception.types import Embedding, FloatArray, ImageArray, Prompt, Proposals

if TYPE_CHECKING:
    from perception.ops.windows import Tile
    from perception.predictor.predictions import LowResMask, PredictedMask
    from perception.runtime.batching import Stopwatch
    from perception.segmenters.protocol import Segmenter

Embed = Callable[["Tile"], Embedding]
"""Gives the embedding of a crop in place of ``Segmenter.encode``: from a cache, for example."""


@runtime_checkable
class EncodedImage(Protocol):
    """One image, ready for any number of prompts."""

    @property
    def image(self) -> ImageArray:
        """The image itself, RGB uint8 H x W x 3."""
        ...

    @property
    def file_name(self) -> str:
        """The image's name, for the record in a result; "" if it has none."""
        ...

    @property
    def refines_proposals(self) -> bool:
        """Whether proposals of lone points gain from being predicted again by their boxes."""
        ...

    def predict(
        self, prompt: Prompt, previous: LowResMask | None = None
    ) -> tuple[PredictedMask, ...]:
        """Return the candidate masks of one prompt, the one to show first.

        Args:
            prompt: Points, one box, or a box that points refine, in pixels of the image.
            previous: The mask that the last of the points corrects. Its logits are fed back.

        Returns:
            Three candidates of a lone point, best first; else the single-mask output and then the
            three candidates. A candidate that contains every positive point and no negative one
            comes before one that doesn't.

        Raises:
            PromptError: Nothing is asked, more than one box is, or a point lies outside the image.
        """
        ...

    def predict_boxes(
        self, boxes: FloatArray, *, tile: int = 0
    ) -> Iterator[tuple[int, tuple[PredictedMask, ...]]]:
        """Yield the candidates of each of N boxes, each a prompt of its own.

        Args:
            boxes: N x 4 xyxy.
            tile: Side in pixels of the tiles in which small boxes of a large image are predicted;
                0 for none.

        Yields:
            Which box, and its four candidates as ``predict`` has them, in an order that needs the
            fewest encodings. A box's masks never depend on the other boxes.

        Raises:
            PromptError: A box lies outside the image.
        """
        ...

    def propose(
        self, points: FloatArray, *, crop: Tile | None = None, min_quality: float = -inf
    ) -> Proposals:
        """Return the candidates of N lone points for segment-everything, in pixels of a crop.

        Args:
            points: N x 2 (x, y) in pixels of the crop.
            crop: The part of the image to predict in; the whole by default.
            min_quality: Candidates with less predicted IoU are left out, and never upscaled.
        """
        ...


class MaskPredictor(Protocol):
    """Turns prompts into masks. Two exist: ``WholeImagePredictor`` and ``ZoomPredictor``."""

    @property
    def kind(self) -> str:
        """The name by which a model's spec chooses it: "whole" or "zoom"."""
        ...

    @property
    def segmenter(self) -> Segmenter:
        """The network that it runs."""
        ...

    def encode(
        self,
        image: ImageArray,
        *,
        file_name: str = "",
        embed: Embed | None = None,
        watch: Stopwatch | None = None,
    ) -> EncodedImage:
        """Return an image RGB uint8 H x W x 3 as prompts are predicted on it.

        Crops are encoded when a prompt first needs them, and kept for the next ones.

        Args:
            image: The image; it isn't copied, and must not change.
            file_name: Its name, for the record.
            embed: Gives a crop's embedding in place of the network.
            watch: Times the stages "encode" and "decode".

        Raises:
            ImageError: Another kind of array.
        """
        ...
