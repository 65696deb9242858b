"""What a box says of its mask."""

import numpy as np
import pytest
from fakes import ColorSegmenter, drawing

from perception.imaging.preprocess import Frame
from perception.ops.windows import Tile
from perception.predictor.crop import ImageCrops
from perception.predictor.refine import box_logits
from perception.predictor.zoom import ZoomPredictor
from perception.types import Prompt

BOX = (20, 10, 60, 30)
HW = (50, 100)


def test_nothing_in_the_box_and_less_and_less_beyond_it():
    (odds,) = box_logits(np.float32([BOX]), Frame(HW, 100), (100, 100))
    assert odds.dtype == np.float32
    assert not odds[10:30, 20:60].any()
    # 0.15 of 40 pixels are 6, of 20 pixels 3; the middle of a cell counts
    assert odds[20, 60:68].tolist() == pytest.approx([-0.5, -1.5, -2.5, -3.5, -4.5, -5.5, -6, -6])
    assert odds[20, 13:20].tolist() == pytest.approx([-6, -5.5, -4.5, -3.5, -2.5, -1.5, -0.5])
    assert odds[30:34, 40].tolist() == pytest.approx([-1, -3, -5, -6])
    assert odds[9, 60] == pytest.approx(-1)  # beyond two edges: as far as from the farther one
    assert odds.min() == -6


def test_cells_are_those_of_the_frame():
    coarse = box_logits(np.float32([BOX]), Frame(HW, 200), (50, 50))
    fine = box_logits(np.float32([BOX]), Frame(HW, 100), (100, 100))
    assert coarse.shape == (1, 50, 50)
    means = fine.reshape(1, 50, 2, 50, 2).mean((2, 4))
    assert np.abs(coarse - means)[0, 5:15].max() < 0.3  # rows of the box


def test_a_box_thinner_than_a_cell_leaves_the_cells_around_it():
    thin = np.float32([(30, 10, 30.1, 30)])
    (odds,) = box_logits(thin, Frame(HW, 100), (100, 100))
    assert odds[20, 28:32].tolist() == pytest.approx([-6, -3, -2.4, -6], abs=0.01)


class Generous(ColorSegmenter):
    """Says that everything is in the mask, a little."""

    def decode(self, embedding, prompt):
        decoded = super().decode(embedding, prompt)
        decoded.logits[:] = 1
        return decoded


def crop_of(image, window, *, refined=True):
    return ImageCrops(Generous(), image, refined=refined).crop(window)


def test_boxes_add_their_prior_in_refined_crops():
    image, view = drawing(*HW), Tile(10, 0, 80, 50)
    prompt = Prompt(boxes=[BOX, (0, 0, 10_000, 10_000)])
    decoded = crop_of(image, view).decode(prompt)
    inner = np.float32([(10, 10, 50, 30), (0, 0, 70, 50)])  # in pixels of the view, clipped to it
    known = box_logits(inner, decoded.frame, decoded.logits.shape[2:])
    assert np.array_equal(decoded.logits, np.broadcast_to(1 + known[:, None], decoded.logits.shape))
    plain = crop_of(image, view, refined=False).decode(prompt)
    assert (plain.logits == 1).all()


@pytest.mark.parametrize("boxes", [(), (BOX,)])
def test_points_say_themselves_where_a_thing_is(boxes):
    prompt = Prompt(points=[(70, 40)], boxes=np.float32(boxes).reshape(-1, 4))
    assert (crop_of(drawing(*HW), Tile(0, 0, 100, 50)).decode(prompt).logits == 1).all()


def test_a_mask_ends_a_little_beyond_its_box():
    image = np.full((*HW, 3), 90, np.uint8)
    ((_, candidates),) = ZoomPredictor(Generous()).encode(image).predict_boxes(np.float32([BOX]))
    mask = candidates[0].mask()
    assert mask[12:28, 22:58].all()  # edges are smoothed
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert 6 <= rows[0] <= rows[-1] <= 34
    assert 15 <= columns[0] <= columns[-1] <= 65
