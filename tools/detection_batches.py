"""Batches for the detector: scenes, a list of phrases for them all, and which is true of what."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
import torch
from make_vocabulary import NAMED_BLOCKS
from numpy.random import Generator
from photos import Backgrounds
from scenes.scene import Painter, Scene, Style
from scenes.shapes import COLOURS, NOUNS
from scenes.words import Words, is_held_out, nearly, some_of
from torch import Tensor
from torch.utils.data import IterableDataset

from perception.detector.tokenizer import Tokenizer

MOST_THINGS = 12  # things in one scene at most: the G of the targets


@dataclass
class DetectionBatch:
    """images: B x S x S x 3 uint8; ids: N x L tokens of P = N phrases; boxes: B x G x 4 in pixels,
    zero where there is no thing; truth: B x G x P, which phrases are true of which thing.
    """

    images: Tensor
    ids: Tensor
    boxes: Tensor
    truth: Tensor


class DetectionBatches(IterableDataset[DetectionBatch]):
    """Endless batches; the same seed and worker give the same ones."""

    def __init__(self, tokenizer: Tokenizer, *, side: int, size: int, seed: int) -> None:
        self.tokenizer, self.side, self.size, self.seed = tokenizer, side, size, seed

    def __iter__(self) -> Iterator[DetectionBatch]:
        cv2.setNumThreads(0)
        info = torch.utils.data.get_worker_info()
        worker = info.id if info else 0
        painter = Painter()
        foreign = foreign_names(painter)
        for step in count():
            rng = np.random.default_rng((1, self.seed, worker, step))
            yield self._draw(painter, foreign, rng)

    def _draw(self, painter: Painter, foreign: list[str], rng: Generator) -> DetectionBatch:
        style = Style(things=(5, MOST_THINGS), shape_share=0.25)
        scenes = [draw_framed(painter, self.side, rng, style) for _ in range(self.size)]
        words = ask(painter, scenes, rng)
        phrases = [alias(painter, w, rng) for w in words]
        phrases += [str(p) for p in rng.choice(foreign, 8, replace=False)]
        truth = np.zeros((self.size, MOST_THINGS, len(phrases)), bool)
        boxes = np.zeros((self.size, MOST_THINGS, 4), np.float32)
        for b, scene in enumerate(scenes):
            boxes[b, : len(scene.boxes)] = scene.boxes
            truth[b, : len(scene.things), : len(words)] = describes(words, scene.things)
        return DetectionBatch(
            torch.from_numpy(np.stack([scene.image for scene in scenes])),
            torch.from_numpy(self.tokenizer.encode_batch(phrases)),
            torch.from_numpy(boxes),
            torch.from_numpy(truth),
        )


def draw_framed(
    painter: Painter,
    side: int,
    rng: Generator,
    style: Style,
    backgrounds: Backgrounds | None = None,
) -> Scene:
    """A scene of a random aspect ratio in the corner of a side x side picture.

    What the frame pads with zeros after normalising is grey here: the mean colour.
    """
    shape = np.array([1.0, rng.uniform(0.6, 1.0)])[:: int(rng.choice([-1, 1]))]
    if rng.random() < 0.3:
        shape[:] = 1
    h, w = (int(n) for n in np.round(side * shape))
    scale = rng.choice([1, 1, 1.6])  # some are drawn larger and shrunk, as photographs are
    hw = int(h * scale), int(w * scale)
    background = backgrounds.cut(hw, rng) if backgrounds else None
    scene = painter.draw(hw, rng, style, background)
    image = np.empty((side, side, 3), np.uint8)
    image[:] = (124, 116, 104)
    ids = np.full((side, side), -1, np.int16)
    area = cv2.INTER_AREA
    image[:h, :w] = cv2.resize(scene.image, (w, h), interpolation=area)
    ids[:h, :w] = cv2.resize(scene.ids, (w, h), interpolation=cv2.INTER_NEAREST)
    boxes = scene.boxes * np.float32([w, h, w, h]) / np.float32(scene.ids.shape[::-1] * 2)
    return Scene(image, ids, boxes, scene.things)


def ask(painter: Painter, scenes: list[Scene], rng: Generator) -> list[Words]:
    """What is asked of a batch: what is there, what nearly is, and names of other things."""
    things = [thing for scene in scenes for thing in scene.things]
    shapes = [thing for thing in (things[k] for k in rng.permutation(len(things))) if thing.colour]
    asked = {Words(thing.noun): None for thing in things}
    asked |= {some_of(thing, rng): None for thing in shapes[:40]}
    for thing in shapes[:24]:
        asked[nearly(thing, rng)] = None
    asked |= {Words(str(name)): None for name in rng.choice(painter.names, 40, replace=False)}
    return [words for words in asked if not is_held_out(words)]


def alias(painter: Painter, words: Words, rng: Generator) -> str:
    """The phrase for some words; now and then a concept goes by the Unicode name of its emoji."""
    glyphs = painter.concepts.get(words.noun)
    if glyphs is None or rng.random() > 0.1:
        return str(words)
    return unicodedata.name(glyphs[int(rng.integers(len(glyphs)))]).lower()


def foreign_names(painter: Painter) -> list[str]:
    """Names of characters that no scene shows: phrases that are never true."""
    shown = {glyph for glyphs in painter.concepts.values() for glyph in glyphs}
    characters = {chr(c) for low, high in NAMED_BLOCKS for c in range(low, high)} - shown
    names = {unicodedata.name(c, "").lower() for c in characters}
    telling = {w for name in painter.names for w in name.split()} | set(NOUNS) | set(COLOURS)
    return sorted(n for n in names if 0 < len(n) < 28 and not telling & set(n.split()))


def describes(phrases: list[Words], things: list[Words]) -> np.ndarray:
    """Which phrase is true of which thing: N x P bool; ``Words.describes`` for all pairs."""
    columns = [_codes(phrases, things, name) for name in ("noun", "size", "colour", "pattern")]
    fits = [(asked[None] == true[:, None]) | (asked[None] == 0) for asked, true in columns]
    return np.logical_and.reduce(fits)


def _codes(phrases: list[Words], things: list[Words], name: str) -> tuple[np.ndarray, np.ndarray]:
    table: dict[str, int] = {"": 0}
    for words in (*phrases, *things):
        table.setdefault(getattr(words, name), len(table))
    return (
        np.array([table[getattr(words, name)] for words in phrases], np.int64),
        np.array([table[getattr(words, name)] for words in things], np.int64),
    )
