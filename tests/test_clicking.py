"""What clicks mean to a segmenter that looks closer, and to one that doesn't."""

import numpy as np
import pytest
from fakes import ColourSegmenter, drawing

from perception.answers import answer
from perception.clicking import Clicker, answer_points
from perception.errors import PromptError
from perception.masks import rle_to_mask
from perception.tiles import Tile
from perception.types import MaskCandidates, Prompt

HW = (200, 320)
RED, BLUE = (201, 33, 209, 45), (10, 20, 150, 90)


class Noting(ColourSegmenter):
    """Notes the sizes that it encodes and the prompts that it decodes."""

    def __init__(self):
        super().__init__()
        self.sizes, self.prompts = [], []

    def encode(self, image):
        self.sizes.append(image.shape[:2])
        return super().encode(image)

    def decode(self, embedding, prompt):
        self.prompts.append(prompt)
        logits = super().decode(embedding, Prompt(prompt.points, prompt.point_labels, prompt.boxes))
        return MaskCandidates(
            logits.logits, self.quality(embedding), logits.frame, ambiguous=prompt.is_ambiguous
        )

    def quality(self, embedding):
        return np.float32([[0.95, 0.5, 0.9, 0.7]])


class NearSighted(Noting):
    """Has so small an input that it looks closer, and believes the middle distance most."""

    side = 64

    def quality(self, embedding):
        best = 0.9 if embedding.frame.image_hw == (96, 96) else 0.6
        return np.float32([[0.95, 0.2, best, 0.3]])


@pytest.fixture
def image():
    return drawing(*HW, [("red", RED), ("blue", BLUE)])


def click(*points, label=1):
    return np.float32(points), np.full(len(points), label)


def seen_from(side, found):
    """The mask of the view that is so wide."""
    return next(one for one in found if one.view.x1 - one.view.x0 == side)


def test_a_lone_click_is_looked_at_from_three_distances(image):
    segmenter = NearSighted()
    found = Clicker(segmenter, image)(*click((205, 39)))
    assert segmenter.sizes == [HW, (96, 96), (32, 32)]
    assert [one.view for one in found] == [
        Tile(157, -9, 253, 87),
        Tile(0, 0, 320, 200),
        Tile(189, 23, 221, 55),
    ]
    assert [one.quality for one in found] == pytest.approx([0.9, 0.6, 0.6])
    for one in found:
        rows, columns = np.nonzero(one.mask())
        assert one.mask().shape == HW
        cell = (one.view.x1 - one.view.x0) / 64
        assert columns.min() == pytest.approx(RED[0], abs=1 + cell)
        assert rows.max() + 1 == pytest.approx(RED[3], abs=1 + cell)


def test_the_mask_of_a_view_beyond_the_picture_is_cut_at_its_border():
    image = drawing(*HW, [("blue", (0, 0, 320, 200))])
    for one in Clicker(NearSighted(), image)(*click((2, 2))):
        mask = one.mask()
        assert mask[1:9, 1:9].all()  # a cell at the border is of the padding as well
        assert mask.shape == HW


def test_what_the_edge_of_a_view_cuts_is_believed_less(image):
    """The blue thing is larger than the two nearer views."""
    found = Clicker(NearSighted(), image)(*click((80, 55)))
    whole, middle, near = (seen_from(side, found) for side in (320, 96, 32))
    assert (whole.cut, near.cut) == (0, 1)
    assert near.quality == 0
    # The view is 96 pixels wide and high, the thing 140 and 70.
    assert middle.cut == pytest.approx(2 * 70 / 96 / 4, abs=0.02)
    assert middle.quality == pytest.approx(0.9 * (1 - middle.cut))
    assert found[0] is whole or found[0] is middle
    answers = answer_points(NearSighted(), image, Prompt([(80, 55)]), candidates=True)
    assert answers.quality.tolist() == pytest.approx([one.quality for one in found])


def test_the_edge_of_the_picture_cuts_nothing():
    image = drawing(*HW, [("blue", (0, 0, 40, 40))])
    for one in Clicker(NearSighted(), image)(*click((4, 4)))[:2]:
        assert one.cut == 0


def test_a_picture_is_encoded_once_and_a_view_while_it_stays(image):
    segmenter = NearSighted()
    clicker = Clicker(segmenter, image)
    (first, *_) = clicker(*click((205, 39)))
    segmenter.sizes.clear()
    points, labels = np.float32([(205, 39), (60, 60)]), np.array([1, 0])
    second = clicker(points, labels, first)[0]
    assert segmenter.sizes == [(18, 18)]  # 1.5 times the twelve pixels of the mask
    third = clicker(points, labels, second)[0]
    assert segmenter.sizes == [(18, 18)]
    assert third.view == second.view


def test_further_clicks_are_answered_around_the_mask_and_what_is_to_be_in_it(image):
    segmenter = NearSighted()
    clicker = Clicker(segmenter, image)
    (first, *_) = clicker(*click((205, 39)))
    found = clicker(np.float32([(205, 39), (240, 60), (5, 190)]), np.array([1, 1, 0]), first)
    view = found[0].view
    assert view.holds(np.float32([201, 33, 241, 61]))
    assert not view.holds(np.float32([5, 190, 6, 191]))
    asked = segmenter.prompts[-1]
    assert asked.points.tolist() == [[205 - view.x0, 39 - view.y0], [240 - view.x0, 60 - view.y0]]
    assert len(found) == 4
    assert [one.index for one in found] == [0, 1, 2, 3]


def test_the_earlier_mask_is_seen_where_it_was(image):
    """As logits of the new view: over the thing above zero, elsewhere below."""
    segmenter = NearSighted()
    clicker = Clicker(segmenter, image)
    first = seen_from(320, clicker(*click((60, 60))))
    clicker(np.float32([(60, 60), (100, 60)]), np.array([1, 1]), first)
    (logits,) = segmenter.prompts[-1].mask_logits
    assert logits.shape == (64, 64)
    side, (x, y) = 210, (-25, -50)  # 1.5 times 140 pixels, around the middle of the mask
    box = (np.array(BLUE) - (x, y, x, y)) * 64 / side
    rows, columns = np.nonzero(logits > 0)
    found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert np.abs(np.array(found) - box).max() <= 2  # a cell of the first view is five pixels
    assert (logits[0] == -10).all()  # above the picture, where the first view saw nothing


def test_without_an_earlier_mask_the_whole_picture_gives_one(image):
    found = answer_points(NearSighted(), image, Prompt([(205, 39), (203, 35)]))
    assert np.abs(found.boxes[0] - RED).max() <= 1
    assert rle_to_mask(found.rles[0])[39, 205]


def test_candidates_come_best_first_from_all_distances(image):
    prompt = Prompt([(205, 39)])
    three = answer_points(NearSighted(), image, prompt, candidates=True)
    assert three.quality.tolist() == pytest.approx([0.9, 0.6, 0.6])
    one = answer_points(NearSighted(), image, prompt)
    assert one.rles == three.rles[:1]
    assert three.prompt_ids.tolist() == [0, 0, 0]


def test_a_box_with_points_is_seen_in_one_closer_view(image):
    segmenter = NearSighted()
    prompt = Prompt([(205, 39)], [1], [(201, 33, 209, 45)])
    found = answer_points(segmenter, image, prompt)
    assert segmenter.sizes == [(18, 18)]
    assert np.abs(found.boxes[0] - RED).max() <= 1


def test_other_segmenters_see_the_whole_picture(image):
    for prompt in (Prompt([(205, 39)]), Prompt([(205, 39), (60, 60)], [1, 0])):
        for candidates in (False, True):
            segmenter = Noting()
            ours = answer_points(segmenter, image, prompt, candidates=candidates)
            theirs = answer(Noting(), image, prompt, candidates=candidates)
            assert ours.rles == theirs.rles
            assert segmenter.sizes == [HW]
    clicker = Clicker(Noting(), image)
    first = clicker(*click((60, 60)))
    assert [one.index for one in first] == [2, 3, 1]
    second = clicker(np.float32([(60, 60), (205, 39)]), np.array([1, 0]), first[0])
    assert {one.view for one in second} == {Tile(0, 0, 320, 200)}


@pytest.mark.parametrize("prompt", [Prompt([(320, 5)]), Prompt([(5, 5), (-1, 5)])])
def test_a_point_outside_is_named_as_it_was_given(image, prompt):
    x, y = prompt.points[-1]
    with pytest.raises(PromptError, match=f"point {x:g},{y:g} is outside the picture: .* 320 x"):
        answer_points(NearSighted(), image, prompt)
    with pytest.raises(PromptError, match=f"point {x:g},{y:g} is outside the picture: .* 320 x"):
        answer_points(NearSighted(), image, Prompt(prompt.points, None, [(1, 1, 9, 9)]))


@pytest.mark.parametrize(("place", "label"), [((120, 50), 0), ((160, 50), 1)])
def test_a_click_that_the_segmenter_ignores_is_obeyed(image, place, label):
    """It cuts out the blue thing whatever the second click says."""
    clicker = Clicker(NearSighted(), image)
    first = seen_from(320, clicker(*click((60, 60))))
    points = np.float32([(60, 60), place])
    for one in clicker(points, np.array([1, label]), first):
        mask = one.mask()
        x, y = place
        assert mask[y, x] == bool(label)
        assert mask[60, 60]
        if one.index != 1:  # which is its part around the first click
            assert mask[30, 20]  # far from the click it stays as it was


def test_a_lone_click_is_in_each_of_its_masks(image):
    """Also between things, where the segmenter finds the white around them."""
    for place in ((60, 60), (205, 39), (230, 150)):
        for one in Clicker(NearSighted(), image)(*click(place)):
            assert one.mask()[place[1], place[0]]


def test_masks_that_obey_come_first(image):
    class Stubborn(NearSighted):
        """Only its last candidate leaves out what a negative click says."""

        def decode(self, embedding, prompt):
            found = super().decode(embedding, prompt)
            if len(prompt.points) == 2:
                x, y = (embedding.frame.points_to_model(prompt.points[1:])[0] / 4).astype(int)
                found.logits[0, 3, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = -4
            return found

    clicker = Clicker(Stubborn(), image)
    first = seen_from(320, clicker(*click((60, 60))))
    found = clicker(np.float32([(60, 60), (120, 50)]), np.array([1, 0]), first)
    # The first one is its part around the first click.
    assert [one.index for one in found] == [1, 3, 0, 2]
