"""Samples for the detector: pictures, a list of phrases for them all, and which is true of what."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from detection_photos import NamedPhotos
from numpy.random import Generator
from scenes.framed import draw_framed
from scenes.scene import Painter, Scene, Style
from scenes.shapes import COLORS, NOUNS
from scenes.unicode_names import character_names
from scenes.words import Words, is_held_out, nearly, some_of
from torch import Tensor
from torch.utils.data import IterableDataset

from perception.detectors.nano.onnx import Tokenizer

MOST_THINGS = 12  # things in one scene at most
MOST_IN_PHOTO = 30
PHOTO_SHARE = 0.45  # of a batch, where there are photographs
UNLABELLED = 0.2
"""What a phrase weighs in a photograph whose things of that name nobody has boxed."""

LARGE_SHARE = 0.25  # of the scenes
BACKDROP_SHARE = 0.4  # of the scenes, where there are photographs: drawn on blurred ones
ECHO_AFTER = 256  # scenes


@dataclass
class DetectionBatch:
    """images: B x S x S x 3 uint8; ids: P x L, the tokens of P phrases; boxes: B x G x 4 xyxy in
    pixels, zero where there is no thing; truth: B x G x P, which phrase is true of which thing;
    known: B x P in 0..1, how sure it is that a phrase is true of nothing else in the picture.
    """

    images: Tensor
    ids: Tensor
    boxes: Tensor
    truth: Tensor
    known: Tensor | None = None


class DetectionBatches(IterableDataset[DetectionBatch]):
    """Endless batches; the same seed and worker give the same ones.

    Every scene comes twice, some ``ECHO_AFTER`` scenes apart and asked other phrases: drawing takes
    a third of the time otherwise (Choi et al. 2019, "Faster neural network training with data
    echoing"). data: a folder with photographs (see --data); then they are ``PHOTO_SHARE`` of a
    batch.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, side: int, size: int, seed: int, data: Path | None = None
    ) -> None:
        self.tokenizer, self.side, self.size, self.seed = tokenizer, side, size, seed
        self.data = data

    def __iter__(self) -> Iterator[DetectionBatch]:
        cv2.setNumThreads(0)
        info = torch.utils.data.get_worker_info()
        worker = info.id if info else 0
        painter = Painter()
        foreign = foreign_names(painter)
        photos = NamedPhotos(self.data, most=MOST_IN_PHOTO) if self.data else None
        taken = round(self.size * PHOTO_SHARE) if photos else 0
        once: list[Scene] = []
        for step in count():
            rng = np.random.default_rng((1, self.seed, worker, step))
            scenes = self._scenes(painter, once, self.size - taken, rng, photos)
            if photos:
                scenes = scenes + [photos.draw(self.side, rng) for _ in range(taken)]
            words = ask(painter, scenes, rng)
            words += [Words(name) for name in photos.names] if photos else []
            words = list(dict.fromkeys(words))
            phrases = [alias(painter, w, rng) for w in words]
            phrases += [str(p) for p in rng.choice(foreign, 8, replace=False)]
            batch = self._batch(scenes, words, phrases)
            if photos:
                batch.known = _known(words, phrases, photos.names, len(scenes), taken)
            yield batch

    def _scenes(
        self,
        painter: Painter,
        once: list[Scene],
        size: int,
        rng: Generator,
        photos: NamedPhotos | None,
    ) -> list[Scene]:
        """New scenes, which join those that came ``once``, and others of those, which leave."""
        again = size // 2 if len(once) >= ECHO_AFTER else 0
        scenes = [once.pop(int(rng.integers(len(once)))) for _ in range(again)]
        fresh = []
        for _ in range(size - again):
            backdrop = photos.backdrop if photos and rng.random() < BACKDROP_SHARE else None
            fresh.append(draw_framed(painter, self.side, rng, _style(rng), backdrop))
        once += fresh
        return scenes + fresh

    def _batch(self, scenes: list[Scene], words: list[Words], phrases: list[str]) -> DetectionBatch:
        """words: the meaning of the first phrases; the others are true of nothing."""
        most = max(len(scene.things) for scene in scenes)
        most = max(most, MOST_THINGS)
        truth = np.zeros((len(scenes), most, len(phrases)), bool)
        boxes = np.zeros((len(scenes), most, 4), np.float32)
        for b, scene in enumerate(scenes):
            boxes[b, : len(scene.boxes)] = scene.boxes
            truth[b, : len(scene.things), : len(words)] = describes(words, scene.things)
        return DetectionBatch(
            torch.from_numpy(np.stack([scene.image for scene in scenes])),
            torch.from_numpy(self.tokenizer.encode_batch(phrases)),
            torch.from_numpy(boxes),
            torch.from_numpy(truth),
            torch.ones(len(scenes), len(phrases)),
        )


def _style(rng: Generator) -> Style:
    """Most scenes have many things; some have few, which are larger."""
    if rng.random() < LARGE_SHARE:
        return Style(things=(1, 5), longest=0.95)
    return Style(things=(5, MOST_THINGS))


def _known(
    words: list[Words], phrases: list[str], names: list[str], pictures: int, photos: int
) -> Tensor:
    """The ``known`` of a batch whose last pictures are photographs with all ``names`` boxed."""
    classes = {Words(name) for name in names}
    sure = [w in classes for w in words] + [False] * (len(phrases) - len(words))
    known = torch.ones(pictures, len(phrases))
    known[pictures - photos :, ~torch.tensor(sure)] = UNLABELLED
    return known


def ask(painter: Painter, scenes: list[Scene], rng: Generator) -> list[Words]:
    """What is asked of a batch: what is there, what nearly is, and names of other things."""
    things = [thing for scene in scenes for thing in scene.things]
    shapes = [thing for thing in (things[k] for k in rng.permutation(len(things))) if thing.color]
    asked = {Words(thing.noun): None for thing in things}
    asked |= {some_of(thing, rng): None for thing in shapes[:64]}
    for thing in (shapes * 2)[:96]:
        asked[nearly(thing, rng)] = None
    asked |= {Words(str(name)): None for name in rng.choice(painter.names, 24, replace=False)}
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
    names = {name for character, name in character_names().items() if character not in shown}
    telling = {w for name in painter.names for w in name.split()} | set(NOUNS) | set(COLORS)
    return sorted(n for n in names if len(n) < 28 and not telling & set(n.split()))


def describes(phrases: list[Words], things: list[Words]) -> np.ndarray:
    """Which phrase is true of which thing: N x P bool; ``Words.describes`` for all pairs."""
    columns = [_codes(phrases, things, name) for name in ("noun", "size", "color", "pattern")]
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
