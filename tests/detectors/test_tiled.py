"""A detector over tiles: what it finds, what it asks, and that nothing is found twice."""

import numpy as np
import pytest
from fakes import ColorDetector, NearSightedDetector, drawing

from perception.detectors.decode import label
from perception.detectors.tiled import USUAL_SIDE, TiledDetector, tile_side, tiled
from perception.errors import PromptError
from perception.prompts.grammar import parse

RED, ALL = parse("red"), parse("red. blue. green")


def boxes(image, phrases=RED, *, far=False, side=64, threshold=0.3):
    """What a tiled detector finds, left to right."""
    detector = TiledDetector(NearSightedDetector(far=far), side)
    (found,) = detector.detect([image], phrases, threshold=threshold)
    return sorted(found.boxes.tolist())


def red(*box, height=100, width=150):
    return drawing(height, width, [("red", box)])


def test_a_picture_that_fits_is_asked_as_it_is():
    inner = ColorDetector()
    image = drawing()
    for side in (128, 200):
        outer = TiledDetector(inner, side)
        (ours,), (theirs,) = outer.detect([image], ALL), inner.detect([image], ALL)
        for name in ("boxes", "scores", "class_ids", "phrase_ids", "runner_up", "margin"):
            assert (getattr(ours, name) == getattr(theirs, name)).all()
        (ours,), (theirs,) = (d.candidates([image], ALL, floor=0.2) for d in (outer, inner))
        assert ours.queries.tolist() == theirs.queries.tolist()


def test_each_tile_and_the_whole_are_asked():
    inner = NearSightedDetector()
    TiledDetector(inner, 64).detect([red(0, 0, 9, 9)], RED)
    assert inner.seen == [(64, 64)] * 6 + [(100, 150)]


def test_a_thing_in_one_tile():
    assert boxes(red(20, 20, 40, 40)) == [[20, 20, 40, 40]]


@pytest.mark.parametrize("at", range(0, 130, 3))
def test_a_thing_anywhere_is_found_once(at):
    """Smaller than the overlap, so that some tile shows it whole."""
    assert boxes(red(at, 50, at + 12, 60)) == [[at, 50, at + 12, 60]]


@pytest.mark.parametrize(
    "box",
    [
        (30, 10, 70, 30),  # two tiles side by side
        (10, 20, 30, 90),  # two, one below the other
        (30, 20, 90, 90),  # four
        (5, 10, 145, 22),  # a long one across all of a row
        (5, 5, 145, 95),  # all of them
        (0, 0, 150, 100),  # to the image's edges
        (40, 45, 110, 55),  # thin, along the seam between two rows
    ],
)
@pytest.mark.parametrize("far", [False, True])
def test_a_thing_that_seams_cut_is_one(box, far):
    assert boxes(red(*box), far=far) == [list(box)]


def test_a_bent_thing_is_one():
    image = red(20, 10, 130, 20)
    image[10:90, 20:30] = image[15, 25]
    image[10:90, 120:130] = image[15, 25]
    assert boxes(image) == [[20, 10, 130, 90]]


def test_a_tiny_thing_that_the_whole_picture_loses():
    image = drawing(300, 300, [("red", (201, 33, 207, 39))])
    assert NearSightedDetector().detect([image], RED)[0].boxes.tolist() == []
    assert boxes(image, far=True) == [[201, 33, 207, 39]]


def test_things_beside_each_other_stay_apart():
    """Both are cut by the same seams."""
    things = [("red", (20, 10, 130, 28)), ("red", (20, 32, 130, 50)), ("red", (20, 70, 130, 90))]
    assert boxes(drawing(100, 150, things)) == [[*map(float, box)] for _, box in things]


def test_things_of_two_classes_are_never_joined():
    things = [("red", (20, 10, 75, 30)), ("blue", (75, 10, 130, 30))]
    assert boxes(drawing(100, 150, things), ALL) == [[20, 10, 75, 30], [75, 10, 130, 30]]


def test_nothing():
    assert boxes(drawing(100, 150, [])) == []
    (found,) = TiledDetector(ColorDetector(), 64).candidates(
        [drawing(100, 150, [])], ALL, floor=0.1
    )
    assert found.scores.shape == (0, 3)


def test_pictures_of_all_sizes_together():
    images = [drawing(), red(30, 10, 70, 30), drawing(40, 50, [("red", (5, 5, 20, 20))])]
    detector = TiledDetector(NearSightedDetector(), 64)
    together = detector.detect(images, RED)
    for image, found in zip(images, together, strict=True):
        (alone,) = detector.detect([image], RED)
        assert found.boxes.tolist() == alone.boxes.tolist()
        assert found.scores.tolist() == alone.scores.tolist()


def test_many_things_once_each():
    rng = np.random.default_rng(0)
    colors = ["red", "blue", "green"]
    cells = [(x, y) for y in range(0, 280, 20) for x in range(0, 380, 20)]
    things = []
    for n in rng.permutation(len(cells))[:150]:
        x, y = cells[n]
        w, h = rng.integers(6, 18, 2).tolist()
        things.append((colors[n % 3], (x, y, x + w, y + h)))
    image = drawing(280, 380, things)
    detector = TiledDetector(Uneven(0.55, far=False), 64)
    (found,) = detector.detect([image], ALL)
    expected = sorted((*map(float, box), ALL.classes.index(color)) for color, box in things)
    assert (
        sorted((*b, c) for b, c in zip(found.boxes.tolist(), found.class_ids.tolist(), strict=True))
        == expected
    )


class Uneven(NearSightedDetector):
    """Gives every thing some score from ``low`` to 1 in each view."""

    def __init__(self, low, **options):
        super().__init__(**options)
        self.low = low

    def _scores(self, image, phrases, floor):
        low, found = self.low, super()._scores(image, phrases, -10)
        rng = np.random.default_rng(image.size + int(found.boxes.sum()))
        scores = np.where(found.scores != 0, low + (1 - low) * rng.random(found.scores.shape), 0)
        kept = scores.max(axis=1, initial=0) >= floor
        return type(found)(found.boxes, scores, found.queries)[kept]


@pytest.mark.parametrize("threshold", [0.25, 0.4, 0.6, 0.8])
def test_another_threshold_needs_no_other_boxes(threshold):
    """What is found from a low floor, labelled at a threshold, is what is found at that one."""
    rng = np.random.default_rng(4)
    corners = rng.integers(0, 200, (30, 2))
    sizes = rng.integers(6, 120, (30, 2))
    things = [
        (("red", "blue")[n % 2], (*corner, *(corner + size)))
        for n, (corner, size) in enumerate(zip(corners, sizes, strict=True))
    ]
    image = drawing(250, 300, things)
    detector = TiledDetector(Uneven(0.1), 64)
    (low,) = detector.candidates([image], ALL, floor=0.15)
    later, _ = label(low, ALL, threshold=threshold)
    (now,) = detector.detect([image], ALL, threshold=threshold)
    for name in ("boxes", "scores", "class_ids", "phrase_ids", "runner_up", "margin"):
        assert getattr(later, name).tolist() == getattr(now, name).tolist()


def test_boxes_beyond_their_tile_are_cut():
    class Wide(ColorDetector):
        def _scores(self, image, phrases, floor):
            found = super()._scores(image, phrases, floor)
            return type(found)(
                found.boxes + np.float32([-9, -9, 9, 9]), found.scores, found.queries
            )

    (found,) = TiledDetector(Wide(), 64).detect([red(0, 0, 9, 9)], RED)
    assert found.boxes.tolist() == [[0, 0, 18, 18]]


def test_sides():
    assert tile_side(ColorDetector(), None) == 0
    assert tile_side(ColorDetector(), "auto") == USUAL_SIDE
    assert tile_side(NearSightedDetector(), "auto") == 64
    assert tile_side(NearSightedDetector(), 200) == 200
    detector = ColorDetector()
    assert tiled(detector, None) is detector
    assert tiled(detector, 64).side == 64
    with pytest.raises(PromptError, match="32 pixels"):
        tiled(detector, 8)


def test_phrases_depend_on_one_another():
    assert not TiledDetector(ColorDetector(), 64).phrases_independent
