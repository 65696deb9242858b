"""Masks of a large picture from views that are large enough."""

import numpy as np
import pytest
from fakes import ColourSegmenter, NearSightedDetector, drawing

from perception import pipeline
from perception.errors import PromptError
from perception.pipeline import predict_masks
from perception.predictor.whole import WholeImagePredictor, tile_window
from perception.tiles import Tile, tiles

HW, SIDE = (200, 320), 64
GRID = tiles(HW, SIDE)


def predict(segmenter, image, boxes, side=0):
    encoded = WholeImagePredictor(segmenter).encode(image)
    return predict_masks(encoded, boxes, tile=side)


class Seen(ColourSegmenter):
    """Notes the sizes of the pictures that it encodes."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def encode(self, image):
        self.sizes.append(image.shape[:2])
        return super().encode(image)


def view(*box):
    return tile_window(np.float32(box), HW, GRID, SIDE)


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
    answers = predict(ColourSegmenter(), image, prompts, side=SIDE)
    assert answers.prompt_ids.tolist() == [0, 1, 2, 3]
    assert np.abs(answers.boxes - prompts)[[1, 3]].max() == 0
    assert np.abs(answers.boxes - prompts).max() <= 4  # Of 256 pixels a side, 64 cells.
    for rle, box in zip(answers.rles, answers.boxes, strict=True):
        assert rle.size == HW
        alone = predict(ColourSegmenter(), image, box[None], side=SIDE)
        assert np.abs(alone.boxes - box).max() <= 4


def test_a_view_is_encoded_once_and_only_if_it_is_needed():
    boxes = np.float32([(20, 20, 30, 30), (22, 34, 30, 40), (200, 100, 210, 110)])
    image = drawing(*HW, [("red", tuple(box)) for box in boxes.astype(int)])
    segmenter = Seen()
    predict(segmenter, image, boxes, side=SIDE)
    assert segmenter.sizes == [(64, 64)] * 2
    segmenter = Seen()
    assert len(predict(segmenter, image, boxes[:0], side=SIDE).rles) == 0
    assert segmenter.sizes == []


def test_an_empty_mask_is_no_answer():
    image = drawing(*HW, [("red", (20, 20, 30, 30))])
    boxes = np.float32([(200, 100, 210, 110), (20, 20, 30, 30)])
    assert predict(ColourSegmenter(), image, boxes, side=SIDE).prompt_ids.tolist() == [1]


@pytest.mark.parametrize("side", [0, 128, 500])
def test_a_picture_that_fits_is_answered_as_it_is(side):
    boxes = np.float32([[64, 32, 112, 80], [8, 8, 40, 40]])
    ours = predict(ColourSegmenter(), drawing(), boxes, side=side)
    theirs = predict(ColourSegmenter(), drawing(), boxes)
    assert ours.rles == theirs.rles
    assert ours.prompt_ids.tolist() == theirs.prompt_ids.tolist()


def find(image, text, **options):
    return pipeline.find_masks(
        NearSightedDetector(), WholeImagePredictor(ColourSegmenter()), image, text, **options
    )


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
    together = predict(segmenter, image, boxes)
    assert together.prompt_ids.tolist() == [0, 1, 2, 3, 4]
    for some in ([0], [4], [1, 3], [0, 2, 4]):
        found = predict(segmenter, image, boxes[some])
        assert found.rles == tuple(together.rles[n] for n in some)
        for name in ("quality", "stability", "consensus"):
            np.testing.assert_array_equal(getattr(found, name), getattr(together, name)[some])
