"""Prompts in crops: boxes, clicks at three scales, corrections around the mask before."""

import numpy as np
import pytest
from fakes import ColorDetector, ColorSegmenter, drawing

from perception.errors import PromptError
from perception.models.model import Model
from perception.ops.masks import rle_to_mask
from perception.ops.windows import Tile
from perception.pipeline import predict_masks
from perception.predictor.crop import moved_boxes
from perception.predictor.predictions import LowResMask
from perception.predictor.whole import WholeImagePredictor
from perception.predictor.zoom import ZoomPredictor, zoom_window
from perception.types import MaskCandidates, Prompt

HW = (200, 320)
RED, BLUE = (201, 33, 209, 45), (10, 20, 150, 90)


class Noting(ColorSegmenter):
    """Notes the sizes that it encodes and the prompts that it decodes."""

    def __init__(self):
        super().__init__()
        self.sizes, self.prompts = [], []

    def encode(self, image):
        self.sizes.append(image.shape[:2])
        return super().encode(image)

    def decode(self, embedding, prompt):
        self.prompts.append(prompt)
        plain = Prompt(prompt.points, prompt.point_labels, prompt.boxes)
        found = super().decode(embedding, plain)
        quality = np.tile(self.quality(embedding), (len(found), 1))
        return MaskCandidates(found.logits, quality, found.frame, ambiguous=prompt.is_ambiguous)

    def quality(self, embedding):
        return np.float32([[0.95, 0.5, 0.9, 0.7]])


class Middle(Noting):
    """Believes the middle one of the three scales of a lone click most."""

    def quality(self, embedding):
        best = 0.9 if embedding.frame.image_hw == (96, 96) else 0.6
        return np.float32([[0.95, 0.2, best, 0.3]])


@pytest.fixture
def image():
    return drawing(*HW, [("red", RED), ("blue", BLUE)])


def zoom(image, segmenter=None):
    return ZoomPredictor(segmenter or Middle()).encode(image)


def click(*points, labels=None):
    return Prompt(points=np.float32(points), point_labels=labels)


def of_side(side, found):
    """The mask that was predicted in the crop that is so wide."""
    return next(one for one in found if one.window.x1 - one.window.x0 == side)


def test_a_lone_click_is_predicted_at_three_scales(image):
    segmenter = Middle()
    found = zoom(image, segmenter).predict(click((205, 39)))
    assert segmenter.sizes == [HW, (96, 96), (32, 32)]
    assert [one.window for one in found] == [
        Tile(157, -9, 253, 87),
        Tile(0, 0, 320, 200),
        Tile(189, 23, 221, 55),
    ]
    assert [one.quality for one in found] == pytest.approx([0.9, 0.6, 0.6])
    for one in found:
        rows, columns = np.nonzero(one.mask())
        assert one.mask().shape == HW
        assert np.array_equal(rle_to_mask(one.rle()), one.mask())
        cell = (one.window.x1 - one.window.x0) / 64
        assert columns.min() == pytest.approx(RED[0], abs=1 + cell)
        assert rows.max() + 1 == pytest.approx(RED[3], abs=1 + cell)


def test_the_mask_of_a_crop_beyond_the_image_is_cut_at_its_border():
    image = drawing(*HW, [("blue", (0, 0, 320, 200))])
    for one in zoom(image).predict(click((2, 2))):
        mask = one.mask()
        assert mask[1:9, 1:9].all()  # a cell at the border is of the padding as well
        assert mask.shape == HW


def test_what_the_edge_of_a_crop_cuts_is_believed_less(image):
    """The blue object is larger than the two smaller crops."""
    found = zoom(image).predict(click((80, 55)))
    whole, middle, near = (of_side(side, found) for side in (320, 96, 32))
    assert (whole.cut, near.cut) == (0, 1)
    assert near.quality == 0
    # The crop is 96 pixels wide and high, the object 140 and 70.
    assert middle.cut == pytest.approx(2 * 70 / 96 / 4, abs=0.02)
    assert middle.quality == pytest.approx(0.9 * (1 - middle.cut))
    assert found[0] is whole or found[0] is middle


def test_the_edge_of_the_image_cuts_nothing():
    image = drawing(*HW, [("blue", (0, 0, 40, 40))])
    for one in zoom(image).predict(click((4, 4)))[:2]:
        assert one.cut == 0


def test_an_image_is_encoded_once_and_a_crop_while_it_is_kept(image):
    segmenter = Middle()
    encoded = zoom(image, segmenter)
    (first, *_) = encoded.predict(click((205, 39)))
    segmenter.sizes.clear()
    both = click((205, 39), (60, 60), labels=[1, 0])
    second = encoded.predict(both, first.low_res)[0]
    assert segmenter.sizes == [(18, 18)]  # 1.5 times the twelve pixels of the mask
    third = encoded.predict(both, second.low_res)[0]
    encoded.predict(click((205, 39)))
    assert segmenter.sizes == [(18, 18)]
    assert third.window == second.window


def test_corrections_are_predicted_around_the_mask_and_the_positive_clicks(image):
    segmenter = Middle()
    encoded = zoom(image, segmenter)
    (first, *_) = encoded.predict(click((205, 39)))
    prompt = click((205, 39), (240, 60), (5, 190), labels=[1, 1, 0])
    found = encoded.predict(prompt, first.low_res)
    window = found[0].window
    assert window.holds(np.float32([201, 33, 241, 61]))
    assert not window.holds(np.float32([5, 190, 6, 191]))
    asked = segmenter.prompts[-1]
    x, y = window[:2]
    assert asked.points.tolist() == [[205 - x, 39 - y], [240 - x, 60 - y]]
    assert sorted(one.index for one in found) == [0, 1, 2, 3]


def test_a_far_negative_click_alone_corrects_a_mask_too(image):
    previous = first = zoom(image).predict(click((205, 39)))[0].low_res
    found = zoom(image).predict(click((20, 180), labels=[0]), previous)
    assert found[0].window.holds(np.float32([20, 180, 21, 181]))
    assert not found[0].low_res.contains(np.float32([[20, 180]])).any()
    assert first is previous


def test_the_previous_mask_is_seen_where_it_was(image):
    """As logits of the new crop: over the object above zero, elsewhere below."""
    segmenter = Middle()
    encoded = zoom(image, segmenter)
    first = of_side(320, encoded.predict(click((60, 60))))
    encoded.predict(click((60, 60), (100, 60)), first.low_res)
    (logits,) = segmenter.prompts[-1].mask_logits
    assert logits.shape == (64, 64)
    side, (x, y) = 210, (-25, -50)  # 1.5 times 140 pixels, around the middle of the mask
    box = (np.array(BLUE) - (x, y, x, y)) * 64 / side
    rows, columns = np.nonzero(logits > 0)
    found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.abs(np.array(found) - box).max() <= 2  # a cell of the first crop is five pixels
    assert (logits[0] == -10).all()  # above the image, where the first crop shows nothing


def test_any_mask_of_the_image_can_be_corrected(image):
    """A painted one, say; in the image's frame, whatever its shape."""
    painted = np.zeros(HW, bool)
    painted[30:90, 20:120] = True
    encoded = zoom(image)
    frame = encoded.predict(click((60, 60)))[1].decoded.frame
    previous = LowResMask.from_mask(painted, type(frame)(HW, 256), 64)
    back = previous.mask()
    assert (back & painted).sum() / (back | painted).sum() > 0.9
    assert encoded.predict(click((60, 60)), previous)[0].window.holds(np.float32([20, 30, 120, 90]))


def test_clicks_without_a_previous_mask_are_replayed(image):
    encoded = zoom(image)
    prompt = click((60, 60), (100, 60), (205, 39), labels=[1, 1, 0])
    session = Model(ColorDetector(), ZoomPredictor(Middle())).interactive(image)
    for (x, y), label in zip(prompt.points, prompt.point_labels, strict=True):
        session.click(x, y, int(label))
    (at_once, *_) = encoded.predict(prompt)
    assert np.array_equal(at_once.mask(), session.mask())
    assert at_once.window == session.chosen.window


def test_a_box_and_clicks_are_replayed_too(image):
    session = Model(ColorDetector(), ZoomPredictor(Middle())).interactive(image)
    session.box(RED)
    session.click(205, 39)
    at_once = zoom(image).predict(Prompt([(205, 39)], [1], [RED]))
    assert np.array_equal(at_once[0].mask(), session.mask())
    assert session.mask()[39, 205]


def test_clicks_may_begin_with_negative_ones(image):
    """The first positive click is predicted with them, in the whole image."""
    segmenter = Middle()
    found = zoom(image, segmenter).predict(click((5, 5), (205, 39), labels=[0, 1]))
    assert segmenter.sizes == [HW]
    assert segmenter.prompts[0].points.tolist() == [[5, 5], [205, 39]]
    assert len(found) == 4


def test_candidates_come_best_first_from_all_scales(image):
    model = Model(ColorDetector(), ZoomPredictor(Middle()))
    three = model.segment(image, points=[(205, 39)], candidates=True)
    assert three.quality.tolist() == pytest.approx([0.9, 0.6, 0.6])
    one = model.segment(image, points=[(205, 39)])
    assert one.rles == three.rles[:1]
    assert three.prompt_ids.tolist() == [0, 0, 0]


class Elsewhere(Noting):
    """Its best candidate lies where no click is; the second best is right."""

    def decode(self, embedding, prompt):
        found = super().decode(embedding, prompt)
        found.logits[:, 0] = found.logits[:, 2] = -4
        found.logits[:, 3] = 4
        return found


@pytest.mark.parametrize("predictor", [ZoomPredictor, WholeImagePredictor])
def test_the_first_candidate_contains_the_click_and_no_negative_one(image, predictor):
    encoded = predictor(Elsewhere()).encode(image)
    for prompt in (click((60, 60)), click((60, 60), (100, 60))):
        assert encoded.predict(prompt)[0].low_res.contains(prompt.points).all()
    prompt = click((205, 39), (60, 60), labels=[0, 1])
    found = encoded.predict(prompt, LowResMask.from_mask(np.ones(HW, bool), _frame(), 64))
    obeying = [(one.low_res.contains(prompt.points) == [False, True]).all() for one in found]
    assert obeying == sorted(obeying, reverse=True)


def _frame():
    from perception.imaging.preprocess import Frame

    return Frame(HW, 256)


def test_the_whole_image_predictor_sees_the_whole(image):
    segmenter = Noting()
    encoded = WholeImagePredictor(segmenter).encode(image)
    first = encoded.predict(click((60, 60)))
    assert [one.index for one in first] == [2, 3, 1]
    second = encoded.predict(click((60, 60), (205, 39), labels=[1, 0]), first[0].low_res)
    assert {one.window for one in second} == {Tile(0, 0, 320, 200)}
    assert segmenter.sizes == [HW]
    assert np.array_equal(segmenter.prompts[-1].mask_logits[0], first[0].low_res.logits)


def test_an_encoded_image_answers_as_the_image_does(image):
    segmenter = Middle()
    model = Model(ColorDetector(), ZoomPredictor(segmenter))
    encoded = model.encode(image)
    for prompt in ({"points": [(60, 60)]}, {"boxes": [RED, BLUE]}, {"points": [(205, 39)]}):
        ours, theirs = model.segment(encoded, **prompt), model.segment(image, **prompt)
        assert ours.rles == theirs.rles
        assert ours.uid == theirs.uid
        assert ours.info == theirs.info
    segmenter.sizes.clear()
    model.segment(encoded, points=[(205, 39)])
    assert segmenter.sizes == []


def test_a_session_goes_back_and_chooses(image):
    session = Model(ColorDetector(), ZoomPredictor(Middle())).interactive(image)
    assert not session.mask().any()
    first = session.click(60, 60).mask()
    assert np.array_equal(session.choose(1).mask(), session.mask())
    session.choose(0)
    session.click(205, 39, label=0)
    session.undo()
    assert np.array_equal(session.mask(), first)
    with pytest.raises(PromptError, match="outside"):
        session.click(999, 0)
    with pytest.raises(PromptError, match="no candidate 7"):
        session.choose(7)
    assert np.array_equal(session.mask(), first)
    session.undo()
    assert session.candidates == ()


@pytest.mark.parametrize("prompt", [Prompt([(320, 5)]), Prompt([(5, 5), (-1, 5)])])
@pytest.mark.parametrize("predictor", [ZoomPredictor, WholeImagePredictor])
def test_a_point_outside_is_named_as_it_was_given(image, prompt, predictor):
    x, y = prompt.points[-1]
    encoded = predictor(Middle()).encode(image)
    for boxes in ((), [(1, 1, 9, 9)]):
        with pytest.raises(PromptError, match=f"point {x:g},{y:g} is outside the image: .* 320"):
            encoded.predict(Prompt(prompt.points, None, np.float32(boxes).reshape(-1, 4)))


@pytest.mark.parametrize("prompt", [Prompt(), Prompt(boxes=[RED, BLUE])])
def test_one_prompt_at_a_time(image, prompt):
    with pytest.raises(PromptError, match="expected one prompt"):
        zoom(image).predict(prompt)


@pytest.mark.parametrize("longer", [320, 199, 63, 20, 5.5, 1])
def test_a_zoom_window_has_its_box_in_the_middle(longer):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = rng.uniform(0, (320 - longer, 200 - longer / 2))
        box = np.float32([x, y, x + longer, y + longer / 2])
        view = zoom_window(box, HW)
        side = max(np.ceil(np.float32(box[2] - box[0]) * 1.5), 16)
        assert view.x1 - view.x0 == view.y1 - view.y0
        assert 0 <= view.x1 - view.x0 - side <= 1  # a box in single precision
        assert view.holds(box)
        middle = np.array([view.x0 + view.x1, view.y0 + view.y1]) / 2
        assert np.abs(middle - (box[:2] + box[2:]) / 2).max() <= 1


def test_what_sticks_out_of_the_picture_moves_no_view():
    inside, outside = np.float32([[280, 150, 320, 200], [280, 150, 999, 400]])
    assert zoom_window(outside, HW) == zoom_window(inside, HW)


def test_a_view_shows_the_mean_color_beyond_the_picture():
    image = drawing(*HW, [("red", (0, 0, 10, 10))])
    view = Tile(-5, -3, 15, 17)
    pixels = view.cut_from(image)
    assert pixels.shape == (20, 20, 3)
    assert (pixels[3:, 5:] == image[:17, :15]).all()
    assert (pixels[:3] == (124, 116, 104)).all()
    assert (pixels[:, :5] == (124, 116, 104)).all()
    assert np.shares_memory(Tile(1, 2, 15, 17).cut_from(image), image)


def test_each_box_has_a_crop_of_its_own():
    boxes = [(201, 33, 207, 39), (10, 20, 13, 30), (100, 5, 104, 195)]
    image = drawing(*HW, [("red", box) for box in boxes])
    segmenter = Noting()
    answers = predict_masks(zoom(image, segmenter), np.float32(boxes))
    assert answers.prompt_ids.tolist() == [0, 1, 2]
    assert np.abs(answers.boxes - boxes)[:2].max() <= 1
    assert np.abs(answers.boxes - boxes).max() <= 5  # of a view of 285 pixels, 64 cells
    assert sorted(segmenter.sizes) == [(16, 16), (16, 16), (285, 285)]
    for box, rle in zip(boxes, answers.rles, strict=True):
        assert predict_masks(zoom(image, Noting()), np.float32([box])).rles == (rle,)


def test_a_box_thinner_than_rounding_stays_one():
    x = np.float32(36)
    box = np.array([[x, 12, np.nextafter(x, np.float32(99)), 60]], np.float32)
    image = drawing(*HW, [("red", (30, 10, 50, 70))])
    for predictor, side in ((ZoomPredictor, 0), (WholeImagePredictor, 64)):
        encoded = predictor(ColorSegmenter()).encode(image)
        assert predict_masks(encoded, box, tile=side).prompt_ids.tolist() in ([], [0])
    moved = moved_boxes(box, np.float32([3.3, -8]))
    assert (moved[:, 2:] > moved[:, :2]).all()
    assert moved.dtype == np.float32


def test_a_box_outside_is_named_as_it_was_given():
    with pytest.raises(PromptError, match="400"):
        predict_masks(zoom(drawing(*HW)), np.float32([(400, 10, 410, 20)]))


def test_boxes_that_share_a_zoom_crop_are_decoded_apart():
    """So that a mask doesn't depend on the other box either."""
    boxes = np.float32([[60, 40, 140, 60], [90, 10, 110, 90]])  # one middle, one longer side
    segmenter = Noting()
    assert zoom_window(boxes[0], HW) == zoom_window(boxes[1], HW)
    predict_masks(zoom(drawing(*HW, [("red", (60, 10, 140, 90))]), segmenter), boxes)
    assert [len(prompt) for prompt in segmenter.prompts] == [1, 1]


@pytest.mark.parametrize(("place", "label"), [((120, 50), 0), ((160, 50), 1)])
def test_a_click_that_the_segmenter_ignores_is_obeyed(image, place, label):
    """It predicts the blue object whatever the second click says."""
    encoded = zoom(image)
    first = of_side(320, encoded.predict(click((60, 60))))
    for one in encoded.predict(click((60, 60), place, labels=[1, label]), first.low_res):
        mask = one.mask()
        x, y = place
        assert mask[y, x] == bool(label)
        assert mask[60, 60]
        if one.index != 1:  # which is its part around the first click
            assert mask[30, 20]  # far from the click it stays as it was


def test_a_lone_click_is_in_each_of_its_masks(image):
    """Also between objects, where the segmenter finds the white around them."""
    for place in ((60, 60), (205, 39), (230, 150)):
        for one in zoom(image).predict(click(place)):
            assert one.mask()[place[1], place[0]]


def test_masks_that_obey_come_first(image):
    class Stubborn(Middle):
        """Only its last candidate leaves out what a negative click says."""

        def decode(self, embedding, prompt):
            found = super().decode(embedding, prompt)
            if len(prompt.points) == 2:
                x, y = (embedding.frame.points_to_model(prompt.points[1:])[0] / 4).astype(int)
                found.logits[0, 3, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = -4
            return found

    encoded = zoom(image, Stubborn())
    first = of_side(320, encoded.predict(click((60, 60))))
    found = encoded.predict(click((60, 60), (120, 50), labels=[1, 0]), first.low_res)
    # The first one is its part around the first click.
    assert [one.index for one in found] == [1, 3, 0, 2]
