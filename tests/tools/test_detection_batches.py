from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from detection_batches import (
    MOST_THINGS,
    PHOTO_SHARE,
    UNLABELLED,
    DetectionBatch,
    DetectionBatches,
    alias,
    ask,
    describes,
    foreign_names,
)
from detection_photos import NamedPhotos
from scenes.scene import Painter, Scene, Style
from scenes.shapes import COLORS, NOUNS, PATTERNS, SIZES
from scenes.words import Words, is_held_out, nearly, some_of

from perception.detectors.nano.onnx import Tokenizer

VOCABULARY = Path(__file__).resolve().parents[2] / "weights" / "nano-detector-vocab.txt"
SIDE, SIZE = 64, 2


def random_things(count: int, seed: int = 0) -> list[Words]:
    rng = np.random.default_rng(seed)

    def pick(values) -> str:
        return str(rng.choice(list(values)))

    shapes = [
        Words(pick(NOUNS[:3]), pick(("", *SIZES)), pick(list(COLORS)[:3]), pick(PATTERNS))
        for _ in range(count)
    ]
    return [*shapes, Words("cat"), Words("dog")]


@pytest.mark.parametrize(("phrases", "things"), [(0, 0), (0, 5), (40, 0), (60, 25)])
def test_describes_says_for_all_pairs_what_words_say_for_one(phrases: int, things: int) -> None:
    known = random_things(things)[: things + 2] if things else []
    rng = np.random.default_rng(1)
    asked = [f(random_things(1, k)[0], rng) for k in range(phrases // 2) for f in (some_of, nearly)]
    have = describes(asked, known)
    assert have.shape == (len(known), len(asked))
    assert have.dtype == bool
    want = [[phrase.describes(thing) for phrase in asked] for thing in known]
    assert have.tolist() == want
    if phrases and things:
        assert have.any()
        assert not have.all()


@pytest.fixture(scope="module")
def scenes(painter: Painter) -> list[Scene]:
    style = Style(things=(5, 8), shape_share=0.6)
    return [painter.draw((64, 64), np.random.default_rng(k), style) for k in range(4)]


def test_what_is_asked(painter: Painter, scenes: list[Scene]) -> None:
    things = [thing for scene in scenes for thing in scene.things]
    asked = ask(painter, scenes, np.random.default_rng(0))
    assert len(asked) == len(set(asked))
    assert not any(is_held_out(words) for words in asked)
    truth = describes(asked, things)
    assert truth.any(axis=1).all()  # every thing has a phrase
    assert (~truth).all(axis=0).sum() > 20  # and many phrases are true of nothing
    assert any(words.color and words.pattern for words in asked)


def test_no_phrase_that_is_asked_is_held_out(painter: Painter) -> None:
    """Not even where the scenes show what is held out."""
    style = Style(things=(6, 9), shape_share=1.0, held_out_pairs=True)
    shown = [painter.draw((64, 64), np.random.default_rng(k), style) for k in range(3)]
    asked = ask(painter, shown, np.random.default_rng(0))
    assert asked
    assert not any(is_held_out(words) for words in asked)


def test_a_concept_goes_by_the_name_of_its_emoji_now_and_then(painter: Painter) -> None:
    rng = np.random.default_rng(0)
    names = [alias(painter, Words("cat"), rng) for _ in range(300)]
    assert set(names) == {"cat", "cat face"}
    assert 0.85 < names.count("cat") / 300 < 1  # its first emoji is called "cat" too
    star = Words("star", "small", "red")
    assert {alias(painter, star, rng) for _ in range(50)} == {"small red star"}


def test_foreign_names_are_true_of_nothing_that_is_drawn(painter: Painter) -> None:
    names = foreign_names(painter)
    assert len(names) > 200
    assert names == sorted(set(names))
    known = {word for name in painter.names for word in name.split()} | set(NOUNS) | set(COLORS)
    assert not any(known & set(name.split()) for name in names)


@pytest.fixture(scope="module")
def batch(painter: Painter) -> DetectionBatch:
    return next(draw(0))


def draw(seed: int):
    tokenizer = Tokenizer.load(VOCABULARY)
    return iter(DetectionBatches(tokenizer, side=SIDE, size=SIZE, seed=seed))


def test_a_batch(batch: DetectionBatch) -> None:
    phrases = len(batch.ids)
    assert batch.images.shape == (SIZE, SIDE, SIDE, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.boxes.shape == (SIZE, MOST_THINGS, 4)
    assert batch.truth.shape == (SIZE, MOST_THINGS, phrases)
    assert (batch.ids[:, 0] > 0).all()  # no phrase is empty
    real = batch.boxes[..., 2] > batch.boxes[..., 0]
    assert real.any(1).all()
    assert (batch.truth.any(2) == real).all()  # each thing is named, and nothing else is
    assert batch.boxes.min() >= 0
    assert batch.boxes.max() <= SIDE
    assert not batch.truth[..., -8:].any()  # the foreign names
    assert (batch.known == 1).all()  # of a scene everything is known


def test_batches_follow_from_the_seed(batch: DetectionBatch) -> None:
    again = draw(0)
    first, second, other = next(again), next(again), next(draw(1))
    for name, value in vars(batch).items():
        assert torch.equal(getattr(first, name), value), name
    assert not torch.equal(second.images, batch.images)
    assert not torch.equal(other.images, batch.images)


def test_every_scene_comes_twice_and_its_phrases_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detection_batches.ECHO_AFTER", 4)
    batches = draw(2)
    drawn = [next(batches) for _ in range(14)]
    pictures = [image.numpy().tobytes() for batch in drawn for image in batch.images]
    times = [pictures.count(picture) for picture in dict.fromkeys(pictures)]
    assert set(times) <= {1, 2}
    assert times.count(2) >= 5
    first = {batch.images[n].numpy().tobytes(): batch for batch in reversed(drawn) for n in (0, 1)}
    last = {batch.images[n].numpy().tobytes(): batch for batch in drawn for n in (0, 1)}
    again = [key for key in first if first[key] is not last[key]]
    assert again
    assert all(first[key].ids.tolist() != last[key].ids.tolist() for key in again)


def test_photographs_are_a_share_of_a_batch_and_not_all_in_them_is_known(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []

    def backdrop(photos: NamedPhotos, hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        drawn.append(hw)
        return blurred(photos, hw, rng)

    blurred = NamedPhotos.backdrop
    monkeypatch.setattr(NamedPhotos, "backdrop", backdrop)
    tokenizer = Tokenizer.load(VOCABULARY)
    size, photos = 10, round(10 * PHOTO_SHARE)
    batch = next(iter(DetectionBatches(tokenizer, side=SIDE, size=size, seed=0, data=data)))
    assert 0 < len(drawn) < size - photos  # some scenes are drawn on blurred photographs
    assert batch.images.shape == (size, SIDE, SIDE, 3)
    assert (batch.known[: size - photos] == 1).all()
    named = tokenizer.encode_batch(["kite", "fire hydrant"]).tolist()
    ids = batch.ids.tolist()
    width = len(named[0])
    sure = torch.tensor([any(row[:width] == name for name in named) for row in ids])
    assert sure.sum() == 2
    assert (batch.known[size - photos :, sure] == 1).all()
    assert (batch.known[size - photos :, ~sure] == UNLABELLED).all()
    truth = batch.truth[size - photos :]
    assert truth[..., sure].any(2).any(1).all()  # each photograph shows one of its things
    assert not truth[..., ~sure].any()
