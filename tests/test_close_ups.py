"""Masks of a large picture from views that are large enough."""

import numpy as np
import pytest
from fakes import ColourSegmenter, NearSightedDetector, drawing

from perception import pipeline
from perception.answers import answer
from perception.close_ups import answer_boxes, closer_view, view_of
from perception.errors import PromptError
from perception.look import moved_boxes
from perception.tiles import Tile, tiles
from perception.types import Prompt

HW, SIDE = (200, 320), 64
GRID = tiles(HW, SIDE)


class Seen(ColourSegmenter):
    """Notes the sizes of the pictures that it encodes."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def encode(self, image):
        self.sizes.append(image.shape[:2])
        return super().encode(image)


def view(*box):
    return view_of(np.float32(box), HW, GRID, SIDE)


def test_a_small_box_is_seen_in_the_tile_in_whose_middle_it_is():
    x0, y0, x1, y1 = tile = view(100, 60, 110, 70)
    assert tile in GRID
    middles = [abs(t.x0 + t.x1 - 210) + abs(t.y0 + t.y1 - 130) for t in GRID]
    assert abs(x0 + x1 - 210) + abs(y0 + y1 - 130) == min(middles)


def test_a_box_that_no_tile_holds_has_a_view_of_its_own():
    seam = GRID[0].x1  # A tile ends here, and the next one begins too late.
    tile = view(seam - 26, 20, seam + 20, 40)
    assert tile not in GRID
    assert (tile.x1 - tile.x0, tile.y1 - tile.y0) == (SIDE, SIDE)
    assert (tile.x0 + tile.x1) // 2 == seam - 3


@pytest.mark.parametrize(
    ("box", "size"),
    [((10, 10, 60, 60), 64), ((10, 10, 100, 60), 128), ((90, 10, 290, 60), 256)],
)
def test_larger_boxes_have_larger_views(box, size):
    x0, y0, x1, y1 = view(*box)
    assert (x1 - x0, y1 - y0) == (size, min(size, HW[0]))


def test_the_largest_have_the_whole():
    assert view(2, 2, 318, 60) == Tile(0, 0, 320, 200)


@pytest.mark.parametrize("box", [(0, 0, 9, 9), (310, 190, 320, 200), (0, 0, 320, 200)])
def test_views_lie_in_the_picture_and_hold_their_box(box):
    tile = view(*box)
    assert Tile(0, 0, 320, 200).holds(np.float32(tile))
    assert tile.holds(np.float32(box))


def test_masks_lie_where_they_are():
    boxes = [(201, 33, 207, 39), (10, 20, 30, 30), (100, 5, 104, 195), (250, 100, 320, 200)]
    image = drawing(*HW, [("red", box) for box in boxes])
    prompts = np.float32(boxes)[[2, 0, 3, 1]]
    answers = answer_boxes(ColourSegmenter(), image, prompts, side=SIDE)
    assert answers.prompt_ids.tolist() == [0, 1, 2, 3]
    assert np.abs(answers.boxes - prompts)[[1, 3]].max() == 0
    assert np.abs(answers.boxes - prompts).max() <= 4  # Of 256 pixels a side, 64 cells.
    for rle, box in zip(answers.rles, answers.boxes, strict=True):
        assert rle.size == HW
        alone = answer_boxes(ColourSegmenter(), image, box[None], side=SIDE)
        assert np.abs(alone.boxes - box).max() <= 4


def test_a_view_is_encoded_once_and_only_if_it_is_needed():
    boxes = np.float32([(20, 20, 30, 30), (22, 34, 30, 40), (200, 100, 210, 110)])
    image = drawing(*HW, [("red", tuple(box)) for box in boxes.astype(int)])
    segmenter = Seen()
    answer_boxes(segmenter, image, boxes, side=SIDE)
    assert segmenter.sizes == [(64, 64)] * 2
    segmenter = Seen()
    assert len(answer_boxes(segmenter, image, boxes[:0], side=SIDE).rles) == 0
    assert segmenter.sizes == []


def test_an_empty_mask_is_no_answer():
    image = drawing(*HW, [("red", (20, 20, 30, 30))])
    boxes = np.float32([(200, 100, 210, 110), (20, 20, 30, 30)])
    assert answer_boxes(ColourSegmenter(), image, boxes, side=SIDE).prompt_ids.tolist() == [1]


@pytest.mark.parametrize("side", [0, 128, 500])
def test_a_picture_that_fits_is_answered_as_it_is(side):
    boxes = np.float32([[64, 32, 112, 80], [8, 8, 40, 40]])
    ours = answer_boxes(ColourSegmenter(), drawing(), boxes, side=side)
    theirs = answer(ColourSegmenter(), drawing(), Prompt(boxes=boxes))
    assert ours.rles == theirs.rles
    assert ours.prompt_ids.tolist() == theirs.prompt_ids.tolist()


class NearSighted(Seen):
    """Has so small an input that it looks closer."""

    side = 64


@pytest.mark.parametrize("longer", [320, 199, 63, 20, 5.5, 1])
def test_a_closer_view_has_its_box_in_the_middle(longer):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = rng.uniform(0, (320 - longer, 200 - longer / 2))
        box = np.float32([x, y, x + longer, y + longer / 2])
        view = closer_view(box, HW)
        side = max(np.ceil(np.float32(box[2] - box[0]) * 1.5), 16)
        assert view.x1 - view.x0 == view.y1 - view.y0
        assert 0 <= view.x1 - view.x0 - side <= 1  # a box in single precision
        assert view.holds(box)
        middle = np.array([view.x0 + view.x1, view.y0 + view.y1]) / 2
        assert np.abs(middle - (box[:2] + box[2:]) / 2).max() <= 1


def test_what_sticks_out_of_the_picture_moves_no_view():
    inside, outside = np.float32([[280, 150, 320, 200], [280, 150, 999, 400]])
    assert closer_view(outside, HW) == closer_view(inside, HW)


def test_a_view_shows_the_mean_colour_beyond_the_picture():
    image = drawing(*HW, [("red", (0, 0, 10, 10))])
    view = Tile(-5, -3, 15, 17)
    pixels = view.cut_from(image)
    assert pixels.shape == (20, 20, 3)
    assert (pixels[3:, 5:] == image[:17, :15]).all()
    assert (pixels[:3] == (124, 116, 104)).all()
    assert (pixels[:, :5] == (124, 116, 104)).all()
    assert np.shares_memory(Tile(1, 2, 15, 17).cut_from(image), image)


def test_a_near_sighted_segmenter_looks_closer():
    boxes = [(201, 33, 207, 39), (10, 20, 13, 30), (100, 5, 104, 195)]
    image = drawing(*HW, [("red", box) for box in boxes])
    segmenter = NearSighted()
    answers = answer_boxes(segmenter, image, np.float32(boxes))
    assert answers.prompt_ids.tolist() == [0, 1, 2]
    assert np.abs(answers.boxes - boxes)[:2].max() <= 1
    assert np.abs(answers.boxes - boxes).max() <= 5  # of a view of 285 pixels, 64 cells
    assert sorted(segmenter.sizes) == [(16, 16), (16, 16), (285, 285)]
    for box, rle in zip(boxes, answers.rles, strict=True):
        assert answer_boxes(NearSighted(), image, np.float32([box])).rles == (rle,)


def test_a_box_thinner_than_rounding_stays_one():
    x = np.float32(36)
    box = np.array([[x, 12, np.nextafter(x, np.float32(99)), 60]], np.float32)
    image = drawing(*HW, [("red", (30, 10, 50, 70))])
    for segmenter, side in ((NearSighted(), 0), (ColourSegmenter(), 64)):
        assert answer_boxes(segmenter, image, box, side=side).prompt_ids.tolist() in ([], [0])
    moved = moved_boxes(box, np.float32([3.3, -8]))
    assert (moved[:, 2:] > moved[:, :2]).all()
    assert moved.dtype == np.float32


def test_a_box_outside_is_named_as_it_was_given():
    with pytest.raises(PromptError, match="400"):
        answer_boxes(NearSighted(), drawing(*HW), np.float32([(400, 10, 410, 20)]))


def find(image, text, **options):
    return pipeline.find_masks(NearSightedDetector(), ColourSegmenter(), image, text, **options)


@pytest.mark.parametrize(
    "box", [(30, 10, 70, 30), (10, 20, 30, 90), (30, 20, 90, 90), (42, 44, 110, 56)]
)
def test_a_thing_that_seams_cut_has_exactly_its_mask(box):
    image = drawing(100, 150, [("red", box)])
    x0, y0, x1, y1 = box
    found = find(image, "red", tile=64)
    assert len(found) == 1
    expected = np.zeros((100, 150), bool)
    expected[y0:y1, x0:x1] = True
    assert (found.masks[0] == expected).all()


def test_tiny_things_are_found_and_their_parts_are_sharp():
    things = [
        ("red", (201, 33, 207, 39)),
        ("blue", (203, 35, 205, 37)),
        ("red", (10, 100, 190, 190)),
    ]
    image = drawing(*HW, things)
    assert len(find(image, "red. blue")) == 1
    found = find(image, "red. blue", tile="auto")
    assert sorted(found.labels) == ["red", "red"]
    tiny = found[found.areas < 100]
    assert tiny.boxes.tolist() == [[201, 33, 207, 39]]
    assert tiny.areas.tolist() == [36]


def test_a_picture_that_fits_gives_what_it_gives_without_tiles():
    plain, tiled = find(drawing(60, 64), "red. blue"), find(drawing(60, 64), "red. blue", tile=64)
    assert plain.rles == tiled.rles
    assert plain.boxes.tolist() == tiled.boxes.tolist()


def test_boxes_alone():
    image = drawing(100, 150, [("red", (30, 10, 70, 30))])
    found = pipeline.find_boxes(NearSightedDetector(far=False), image, "red", tile=64)
    assert found.boxes.tolist() == [[30, 10, 70, 30]]


def test_no_such_tile():
    with pytest.raises(PromptError, match="32 pixels"):
        find(drawing(), "red", tile=7)


def test_a_mask_never_depends_on_the_other_boxes():
    """To the last bit, with a decoder of the published size, whose weights are random."""
    torch = pytest.importorskip("torch")
    from perception.segmenter.build import _full_size, _vit
    from perception.segmenter.torch_segmenter import TorchSegmenter

    torch.manual_seed(0)
    sam = _full_size(_vit(width=32, depth=1, heads=2, global_blocks=()))
    segmenter = TorchSegmenter(sam, name="random")
    features = np.random.default_rng(0).normal(size=segmenter.embedding_shape)
    known = segmenter.restore(features.astype(np.float32), HW)
    segmenter.encode = lambda image: known
    corners = np.random.default_rng(1).uniform(0, 100, (5, 2))
    boxes = np.hstack([corners, np.add(corners, (60, 40))]).astype(np.float32)
    image = drawing(*HW)
    together = answer_boxes(segmenter, image, boxes)
    assert together.prompt_ids.tolist() == [0, 1, 2, 3, 4]
    for some in ([0], [4], [1, 3], [0, 2, 4]):
        found = answer_boxes(segmenter, image, boxes[some])
        assert found.rles == tuple(together.rles[n] for n in some)
        for name in ("quality", "stability", "consensus"):
            np.testing.assert_array_equal(getattr(found, name), getattr(together, name)[some])


def test_boxes_that_share_a_zoom_crop_are_decoded_apart():
    """So that a mask of a segmenter that looks closer doesn't depend on the other one either."""

    class Near(Seen):
        side = 256

        def decode(self, embedding, prompt):
            assert len(prompt) == 1
            return super().decode(embedding, prompt)

    boxes = np.float32([[60, 40, 140, 60], [90, 10, 110, 90]])  # One middle, one longer side.
    segmenter = Near()
    assert closer_view(boxes[0], HW) == closer_view(boxes[1], HW)
    answer_boxes(segmenter, drawing(*HW, [("red", (60, 10, 140, 90))]), boxes)
    assert len(segmenter.sizes) == 2
