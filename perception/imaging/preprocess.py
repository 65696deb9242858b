"""The frame: how one image is fitted into a model's square input, and the way back.

The longest side is scaled to ``side``; the image lies in the top left corner, the rest is
padding. Torch, ONNX Runtime and the web page use this same arithmetic. Some published models take
the image stretched to the whole square instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from perception.errors import ImageError, PromptError
from perception.imaging.resample import Axis, Window, linear_taps, upsampled_columns, window_above
from perception.types import BoolArray, FloatArray, ImageArray, Prompt

RGB_MEAN = (123.675, 116.28, 103.53)
"""Mean of red, green and blue on 0..255 over ImageNet: SAM's, and nano's as well."""
RGB_STD = (58.395, 57.12, 57.375)
"""Standard deviation of red, green and blue on 0..255, as ``RGB_MEAN``."""


@dataclass(frozen=True)
class Frame:
    """Fits an image of ``image_hw`` (height, width) into a model input of side x side pixels.

    stretched: the image fills the square, whatever its shape, and there is no padding.
    """

    image_hw: tuple[int, int]
    side: int
    stretched: bool = False

    def __post_init__(self) -> None:
        if min(self.image_hw) < 1 or self.side < 1:
            raise ValueError(f"a frame needs sizes of at least 1, got {self.image_hw}, {self.side}")

    @property
    def scale(self) -> float:
        """Model pixels per image pixel along the longest side, before rounding."""
        return self.side / max(self.image_hw)

    @property
    def resized_hw(self) -> tuple[int, int]:
        """The part of the model input that the image covers, rounded as SAM rounds."""
        if self.stretched:
            return self.side, self.side
        height, width = self.image_hw
        return max(1, int(height * self.scale + 0.5)), max(1, int(width * self.scale + 0.5))

    @property
    def ratio_xy(self) -> FloatArray:
        """Model pixels per image pixel along x and y, 2: they differ if rounded or stretched."""
        (height, width), (resized_h, resized_w) = self.image_hw, self.resized_hw
        return np.array([resized_w / width, resized_h / height], np.float64).astype(np.float32)

    def resize(self, image: ImageArray) -> ImageArray:
        """The image H x W x 3 scaled to ``resized_hw`` x 3, with Pillow's bilinear filter."""
        if image.shape != (*self.image_hw, 3):
            raise ValueError(f"expected an image of {(*self.image_hw, 3)}, got {image.shape}")
        height, width = self.resized_hw
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def pixels(
        self,
        image: ImageArray,
        mean: Sequence[float] = RGB_MEAN,
        std: Sequence[float] = RGB_STD,
    ) -> FloatArray:
        """The model input 3 x side x side: resized, normalized, then padded with zeros."""
        height, width = self.resized_hw
        rgb = (self.resize(image) - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        padded = np.zeros((3, self.side, self.side), np.float32)
        padded[:, :height, :width] = rgb.transpose(2, 0, 1)
        return padded

    def points_to_model(self, points: ArrayLike) -> FloatArray:
        """Points N x 2 of the image in model pixels (without the prompt encoder's + 0.5)."""
        return _points(points) * self.ratio_xy

    def points_to_image(self, points: ArrayLike) -> FloatArray:
        """Points N x 2 of the model input in image pixels."""
        return _points(points) / self.ratio_xy

    def boxes_to_model(self, boxes: ArrayLike) -> FloatArray:
        """Boxes N x 4 xyxy of the image in model pixels."""
        return self.points_to_model(_corners(boxes)).reshape(-1, 4)

    def boxes_to_image(self, boxes: ArrayLike) -> FloatArray:
        """Boxes N x 4 xyxy of the model input in image pixels; not clipped."""
        return self.points_to_image(_corners(boxes)).reshape(-1, 4)

    def fit_prompt(self, prompt: Prompt) -> Prompt:
        """The prompt, checked against the image: points lie in it, boxes are clipped to it.

        Coordinates stay in image pixels. Raises PromptError for a point outside the image
        (pixel i covers [i, i + 1), so x = width is outside) and for a box wholly outside.
        """
        height, width = self.image_hw
        size = f"the image is {width} x {height} pixels (width x height)"
        for x, y in prompt.points:
            if not (0 <= x < width and 0 <= y < height):
                raise PromptError(f"point {x:g},{y:g} is outside the image: {size}")
        clipped = np.clip(prompt.boxes, 0, np.array([width, height] * 2, np.float32))
        for (x0, y0, x1, y1), (left, top, right, bottom) in zip(prompt.boxes, clipped, strict=True):
            if right <= left or bottom <= top:
                raise PromptError(f"box {x0:g},{y0:g},{x1:g},{y1:g} is outside the image: {size}")
        return Prompt(prompt.points, prompt.point_labels, clipped, prompt.mask_logits)

    def logits_in_image(self, logits: FloatArray) -> FloatArray:
        """The cells of logits ... x h x w that the image touches: the padding is cut off."""
        rows, columns = logits.shape[-2:]
        height, width = self.resized_hw
        covered_h = -(-height * rows // self.side)
        covered_w = -(-width * columns // self.side)
        return logits[..., :covered_h, :covered_w]

    def logits_to_image(self, logits: FloatArray, window: Window | None = None) -> FloatArray:
        """One mask's low-resolution logits h x w, which cover the padded square, as H x W.

        SAM's two bilinear steps (half-pixel centers, no antialiasing): up to side x side, cut off
        the padding, then to the image's size; of a stretched image one step, to its size.
        window: only this part of the image; its values are those of the whole. In memory the
        result lies column by column.
        """
        x0, y0, x1, y1 = window or Window(0, 0, self.image_hw[1], self.image_hw[0])
        columns = np.empty((x1 - x0, y1 - y0), np.float32)
        for start, some in self.logits_to_columns(logits, Window(x0, y0, x1, y1)):
            columns[start : start + len(some)] = some
        return columns.T

    def logits_to_columns(
        self, logits: FloatArray, window: Window
    ) -> Iterator[tuple[int, FloatArray]]:
        """``logits_to_image`` in pieces: the first column in the window, values columns x rows.

        A piece is overwritten by the next one; together they would take 4 bytes a pixel.
        """
        return upsampled_columns(logits, *self._axes(logits), window)

    def window_above(self, logits: FloatArray, level: float) -> Window:
        """The part of the image outside which no logit of one mask h x w is above ``level``."""
        return window_above(logits, level, *self._axes(logits))

    def logits_to_masks(self, logits: FloatArray) -> BoolArray:
        """Low-resolution logits N x h x w as masks N x H x W: inside where the logit is > 0."""
        masks = np.zeros((len(logits), *self.image_hw), np.bool_)
        for mask, one in zip(masks, logits, strict=True):
            window = self.window_above(one, 0.0)
            part = mask[window.y0 : window.y1, window.x0 : window.x1]
            for start, columns in self.logits_to_columns(one, window):
                np.greater(columns.T, 0, out=part[:, start : start + len(columns)])
        return masks

    def _axes(self, logits: FloatArray) -> tuple[Axis, Axis]:
        """How the cells of logits h x w become the image's columns and rows."""
        if self.stretched:
            steps = zip(logits.shape, self.image_hw, strict=True)
            y, x = (Axis((linear_taps(cells, size, size),)) for cells, size in steps)
            return x, y
        sizes = zip(logits.shape, self.resized_hw, self.image_hw, strict=True)
        y, x = (
            Axis(
                (
                    linear_taps(cells, self.side, resized),
                    # Nothing is left to do where the model's size is the image's.
                    *([] if resized == size else [linear_taps(resized, size, size)]),
                )
            )
            for cells, resized, size in sizes
        )
        return x, y


def fit_picture(
    image: ImageArray,
    side: int,
    *,
    stretched: bool = False,
    mean: Sequence[float] = RGB_MEAN,
    std: Sequence[float] = RGB_STD,
) -> tuple[Frame, FloatArray]:
    """RGB uint8 H x W x 3 -> its frame and the model input 1 x 3 x side x side.

    stretched, mean, std: see ``Frame`` and ``Frame.pixels``. Raises ImageError for another shape or
    type.
    """
    check_rgb(image)
    frame = Frame((image.shape[0], image.shape[1]), side, stretched)
    return frame, frame.pixels(image, mean, std)[None]


def check_rgb(image: ImageArray) -> None:
    """Raise ImageError for anything but an RGB array of uint8, H x W x 3, that isn't empty."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(
            "expected an RGB image (an RGB array of uint8, H x W x 3), "
            f"got {image.dtype} of {image.shape}"
        )


def _points(points: ArrayLike) -> FloatArray:
    return np.asarray(points, np.float32).reshape(-1, 2)


def _corners(boxes: ArrayLike) -> FloatArray:
    return np.asarray(boxes, np.float32).reshape(-1, 2)
