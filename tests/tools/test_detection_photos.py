from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detection_photos import LEAST_CLOSE, NamedPhotos, in_fours
from scenes.scene import Scene
from scenes.words import Words
from views import draw_view


def test_photographs_with_crowds_or_too_many_things_are_left_out(data: Path) -> None:
    assert len(NamedPhotos(data, most=2).photos) == 1
    assert len(NamedPhotos(data, most=1).photos) == 0


def test_a_view_has_the_things_it_shows(data: Path) -> None:
    photos = NamedPhotos(data, most=30)
    assert photos.names == ["fire hydrant", "kite"]
    seen, counts = set(), set()
    for seed in range(90):
        scene = photos.draw(64, np.random.default_rng(seed))
        assert scene.image.shape == (64, 64, 3)
        assert len(scene.boxes) == len(scene.things) > 0
        for (x0, y0, x1, y1), words in zip(scene.boxes, scene.things, strict=True):
            assert 0 <= x0 < x1 <= 64
            assert 0 <= y0 < y1 <= 64
            inside = scene.image[int(y0) + 1 : int(y1) - 1, int(x0) + 1 : int(x1) - 1]
            red, green, _ = inside.reshape(-1, 3).astype(int).mean(0)
            if abs(red - green) > 5:  # not a grey one
                assert (red > green) == (words.noun == "kite")
        counts.add(len(scene.things))
        seen.add(tuple(words.noun for words in scene.things))
    assert {1, 2} < counts <= {1, 2, 4, 5, 6, 7, 8}  # of one view, and of four in a square
    alone = {names for names in seen if len(names) <= 2}  # what one view shows; four show more
    assert alone == {("kite",), ("fire hydrant",), ("kite", "fire hydrant")}


def test_four_views_stand_in_a_square_by_rows() -> None:
    scenes = [
        Scene(
            np.full((20, 20, 3), n, np.uint8),
            np.full((20, 20), -1, np.int16),
            np.float32([[1, 2, 3, 5]] * n).reshape(-1, 4),
            [Words(f"name {n}")] * n,
        )
        for n in range(4)
    ]
    together = in_fours(scenes)
    assert together.image.shape == (40, 40, 3)
    assert [together.image[y, x, 0] for y in (0, 39) for x in (0, 39)] == [0, 1, 2, 3]
    assert [str(words) for words in together.things] == ["name 1"] + 2 * ["name 2"] + 3 * ["name 3"]
    want = [[21, 2, 23, 5], *2 * [[1, 22, 3, 25]], *3 * [[21, 22, 23, 25]]]
    assert together.boxes.dtype == np.float32
    np.testing.assert_array_equal(together.boxes, want)


def test_close_views_are_of_things_worth_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the photograph's things one is long enough to be looked at closely, the other isn't."""
    asked = []

    def draw(hw, box, side, rng, *, close=0):  # type: ignore[no-untyped-def]
        asked.append(((box[2:] - box[:2]).max() >= LEAST_CLOSE, close))
        return draw_view(hw, box, side, rng, close=close)

    monkeypatch.setattr("detection_photos.draw_view", draw)
    photos = NamedPhotos(data, most=30)
    photos.photos[0].boxes[1] = (20, 4, 64, 40)
    for seed in range(20):
        photos.draw(64, np.random.default_rng(seed))
    assert {large for large, _ in asked} == {True, False}
    assert all((close > 0) == large for large, close in asked)


def test_a_backdrop_shows_colors_and_nothing_else(data: Path) -> None:
    photos = NamedPhotos(data, most=30)
    for seed in range(8):
        backdrop = photos.backdrop((60, 90), np.random.default_rng(seed))
        assert backdrop.shape == (60, 90, 3)
        assert backdrop.dtype == np.uint8
        steps = [np.abs(np.diff(backdrop.astype(int), axis=axis)).max() for axis in (0, 1)]
        assert 0 < max(steps) < 40  # the edges of the photograph's things are steps of 210
