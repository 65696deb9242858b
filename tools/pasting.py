"""Things cut out of photographs and pasted onto other pictures, with the masks that follow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

MIN_SIDE = 40  # pixels of a thing that is cut out: a smaller one is too blurred to paste
LEAST_SHOWN = 0.35  # a thing of which less is left after pasting isn't asked for


@dataclass(frozen=True)
class CutOut:
    """A thing with its surroundings left out: image h x w x 3 uint8, mask h x w uint8 of 0, 1."""

    image: np.ndarray
    mask: np.ndarray


def cut_out(image: np.ndarray, mask: np.ndarray) -> CutOut | None:
    """The thing of a mask H x W uint8; None where it is small or the picture cuts it off."""
    x, y, width, height = cv2.boundingRect(mask)
    if min(width, height) < MIN_SIDE:
        return None
    if x == 0 or y == 0 or x + width == mask.shape[1] or y + height == mask.shape[0]:
        return None
    part = np.s_[y : y + height, x : x + width]
    return CutOut(np.ascontiguousarray(image[part]), np.ascontiguousarray(mask[part]))


def paste(
    image: np.ndarray, masks: np.ndarray, things: list[CutOut], rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes things onto a picture S x S x 3 with masks N x S x S; returns both, the masks longer.

    Each is scaled, flipped half of the time and laid anywhere; masks below lose what it covers. Its
    border is softened by a pixel, as a lens would.
    """
    side = len(image)
    image, layers = image.copy(), [mask.copy() for mask in masks]
    areas = [int(mask.sum()) for mask in layers]
    for thing in things:
        wanted = side * np.exp(rng.uniform(np.log(0.15), np.log(0.7)))
        scale = wanted / max(thing.mask.shape)
        size = [max(int(n * scale), 8) for n in thing.mask.shape[::-1]]
        flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
        pixels = cv2.resize(thing.image, size, interpolation=cv2.INTER_AREA)[:, flip]
        soft = cv2.resize(thing.mask * np.float32(1), size, interpolation=cv2.INTER_AREA)[:, flip]
        x, y = (int(rng.integers(-n // 5, side - n + n // 5 + 1)) for n in size)
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + size[0], side), min(y + size[1], side)
        inside = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        alpha = soft[inside]
        below = image[y0:y1, x0:x1]
        mixed = below + (pixels[inside].astype(np.float32) - below) * alpha[..., None]
        image[y0:y1, x0:x1] = np.round(mixed).astype(np.uint8)
        layer = np.zeros((side, side), bool)
        layer[y0:y1, x0:x1] = alpha > 0.5
        for below_it in layers:
            below_it &= ~layer
        layers.append(layer)
        areas.append(int(layer.sum()))
    shown = [
        layer for layer, area in zip(layers, areas, strict=True) if layer.sum() > LEAST_SHOWN * area
    ]
    return image, np.stack(shown) if shown else np.zeros((0, side, side), bool)
