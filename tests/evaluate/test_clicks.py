"""Clicks on things until their masks are right."""

import numpy as np
import pytest

from evaluate.things_on_disk import (
    BOXES,
    HW,
    coco_file,
    grabcut_folder,
    part,
    stub_model,
    thing_under,
)
from perception.evaluate.average_precision import mask_iou
from perception.evaluate.click_result import measure_clicks
from perception.evaluate.clicks import Click, Walk, click_through, oracle_choice, own_choice
from perception.evaluate.objects import Thing, read_coco_things, read_grabcut_things
from perception.ops.masks import mask_to_rle
from perception.types import Rle


@pytest.fixture
def things(tmp_path):
    return read_coco_things(*coco_file(tmp_path))


def rows_told(count):
    """So many rows of the thing under the first click, by the number of clicks."""

    def tell(prompt):
        mask = thing_under(prompt)
        top = np.flatnonzero(mask.any(axis=1))[0]
        side = int(mask.any(axis=1).sum())
        mask[top + side * count(len(prompt.points)) // 32 :] = False
        return mask

    return stub_model(tell)


def test_the_truth_needs_one_click(things):
    result = measure_clicks(stub_model(thing_under), things)
    assert len(result.rows) == 4
    for choice in ("own", "oracle"):
        assert result.miou(choice) == (1.0,) * 20
        assert result.noc(0.9, choice) == 1
        assert result.failures(0.9, choice) == 0
    assert {len(row.own.clicks) for row in result.rows} == {1}
    assert [row.own.clicks[0][:2] for row in result.rows[:2]] == [(23.5, 23.5), (87.5, 55.5)]


def test_a_part_more_with_each_click(things):
    result = measure_clicks(rows_told(lambda n: min(4 * n, 32)), things, most=10)
    assert result.miou() == (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 1, 1)
    assert result.noc(0.85) == 7
    assert result.noc(0.9) == 8
    assert result.failures(0.9) == 0
    assert {len(row.own.clicks) for row in result.rows} == {8}
    assert {click.label for row in result.rows for click in row.own.clicks} == {1}


def test_what_is_never_reached_counts_as_most_and_as_a_failure(things):
    result = measure_clicks(rows_told(lambda n: 16), things, most=5)
    assert (result.noc(0.85), result.failures(0.85)) == (5, 4)
    table = result.tables()[0]
    assert table.columns[-4:] == ("NoC@85", "failed", "NoC@90", "failed")
    assert table.rows[0] == ("the model's choice", 4, 0.5, 0.5, 0.5, 0.5, 5.0, 4, 5.0, 4)


def test_the_oracle_knows_best_and_the_model_believes(things):
    """Candidate 1 is believed best, 3 is right; the single mask (0) is right from click 2 on."""

    def tell(prompt):
        right = thing_under(prompt)
        whole = np.ones_like(right)
        return np.stack([right, whole, whole, right])

    result = measure_clicks(stub_model(tell), things, most=3)
    assert result.miou("own")[0] < 0.5
    assert result.miou("own")[1:] == (1, 1)
    assert result.miou("oracle") == (1, 1, 1)
    assert result.noc(0.85, "own") == 2
    assert result.noc(0.85, "oracle") == 1


def test_the_single_mask_is_no_candidate_for_the_first_click(things):
    def tell(prompt):
        right = thing_under(prompt)
        none = np.zeros_like(right)
        return np.stack([right, none, none, none])

    assert measure_clicks(stub_model(tell), things, most=2).miou("oracle") == (0, 1)


def test_the_mask_before_is_fed_back(things):
    seen = []

    def tell(prompt):
        seen.append(prompt)
        mask = np.zeros(HW, bool)
        mask[: len(prompt.points)] = True
        none = np.zeros_like(mask)
        return np.stack([mask, none, mask, none])

    thing = things.pictures[0].things[0]
    encoded = stub_model(tell).predictor.encode(np.zeros((*HW, 3), np.uint8))
    click_through(encoded, thing, choose=own_choice, most=3)
    first, second, third = seen
    assert first.mask_logits is None
    assert first.is_ambiguous
    # Of the lone click the first candidate, which is empty; then the single mask: two rows.
    assert not (second.mask_logits > 0).any()
    assert ((third.mask_logits[0] > 0).sum(axis=1) > 0).sum() == 2
    seen.clear()
    click_through(encoded, thing, choose=oracle_choice, most=2)
    assert second.mask_logits.shape == (1, 128, 128)


def test_a_wrong_excess_gets_a_negative_click():
    truth = part(BOXES["red"])
    thing = Thing("0", "red", mask_to_rle(truth))
    model = stub_model(lambda prompt: truth | part(BOXES["blue"]))
    encoded = model.predictor.encode(np.zeros((*HW, 3), np.uint8))
    walk = click_through(encoded, thing, most=2)
    assert walk.clicks[1] == (87.5, 55.5, 0)


def test_unknown_pixels_dont_count(tmp_path):
    things = read_grabcut_things(grabcut_folder(tmp_path))
    x0, y0, x1, y1 = BOXES["red"]
    wide = part((x0 - 1, y0 - 1, x1 + 1, y1 + 1))
    assert measure_clicks(stub_model(lambda prompt: wide), things).noc(0.9) == 1
    wider = part((x0 - 2, y0 - 2, x1 + 2, y1 + 2))
    # 32 x 32 are right, a ring of 36 x 36 - 34 x 34 is too much.
    result = measure_clicks(stub_model(lambda prompt: wider), things, most=1)
    assert result.miou()[0] == pytest.approx(1024 / (1024 + 36**2 - 34**2))


def test_sizes_are_coco_s(things):
    result = measure_clicks(stub_model(thing_under), things, most=2)
    figures = result.to_json()["own"]
    # 32 x 32 pixels are medium already.
    assert (figures["small"]["things"], figures["medium"]["things"]) == (0, 4)
    assert figures["small"]["miou"] == [None, None]
    assert figures["miou"] == [1, 1]
    assert [plot.title for plot in result.plots()] == ["IoU by clicks", "Done by clicks"]


def test_the_worst_come_first(things):
    def tell(prompt):
        right = thing_under(prompt)
        return right if prompt.points[0, 0] > 50 else right & part((8, 8, 40, 24))

    cases = measure_clicks(stub_model(tell), things, most=2).cases()
    assert [case.value for case in cases] == [0.5, 0.5, 1, 1]
    assert [case.file_name for case in cases] == ["a.png", "b.png", "a.png", "b.png"]
    assert cases[0].caption == "red: IoU 0.50 after 1 click, 0.50 after 2"
    assert cases[0].points.tolist() == [[23.5, 23.5], [23.5, 31.5]] or len(cases[0].points) == 2


def test_a_walk_comes_back_as_it_was():
    mask = Rle((2, 3), mask_to_rle(np.ones((2, 3), bool)).counts)
    walk = Walk((1 / 3, 0.1 + 0.2), (Click(1.5, 0.5, 1),), mask, mask, (False,))
    assert Walk.from_row(walk.to_row(), (2, 3)) == walk


def test_iou_of_two_empty_masks_is_one():
    none, some = np.zeros((2, 2), bool), np.eye(2, dtype=bool)
    assert mask_iou(none, none) == 1
    assert mask_iou(none, some) == 0
    assert mask_iou(some, none, ~some) == 1


def test_obedience_is_of_each_click_s_own_pixel(things):
    """Half a thing after the first click, whose missing half the second asks for in vain."""

    def tell(prompt):
        mask = thing_under(prompt)
        if len(prompt.points) < 3:
            mask[np.flatnonzero(mask.any(axis=1))[0] + 16 :] = False
        return mask

    result = measure_clicks(stub_model(tell), things, most=5)
    assert [row.own.obeyed[1:] for row in result.rows] == [(False, True)] * 4
    assert result.obedience(1) == (8, 0.5)
    count, share = result.obedience(0)
    assert (count, np.isnan(share)) == (0, True)
    assert result.harm() == (8, 0.0)
    assert result.to_json()["own"]["obeyed"] == {"clicks": 8, "share": 0.5}
    table = result.tables()[2]
    assert table.rows[0] == ("the model's choice", 8, 0.5, 0, None, 8, 0.0)


def test_an_excess_that_stays_is_not_obeyed(things):
    model = stub_model(lambda prompt: thing_under(prompt) | part(BOXES["blue"]))
    result = measure_clicks(model, things, most=3)
    negative = [row.own for row in result.rows if row.thing.label != "blue"]
    assert all(walk.obedience(0, 10) == (False, False) for walk in negative)
    assert result.obedience(0)[1] == 0


def test_a_click_that_takes_away_what_was_right_is_harmful(things):
    """The whole thing but a corner, then half of it, then the whole of it."""

    def tell(prompt):
        mask = thing_under(prompt)
        rows = np.flatnonzero(mask.any(axis=1))
        if len(prompt.points) == 1:
            mask[rows[0] : rows[0] + 4] = False
        elif len(prompt.points) == 2:
            mask[rows[0] + 16 :] = False
        return mask

    walk = measure_clicks(stub_model(tell), things, most=4).rows[0].own
    assert walk.harmed(10) == (True, False)
    assert walk.harmed(1) == ()
