"""Masks from tight and from jittered boxes."""

from pathlib import Path

import numpy as np
import pytest

import perception
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
from perception.evaluate.boxes import (
    DRAWS,
    JITTER,
    GrabCutBoxMasks,
    PredictorBoxMasks,
    jittered_boxes,
    measure_boxes,
)
from perception.evaluate.objects import Things, read_coco_things, read_grabcut_things
from perception.imaging.read import read_image

PARK = Path(__file__).resolve().parents[2] / "demos" / "images" / "park.jpg"


@pytest.fixture
def things(tmp_path):
    return read_coco_things(*coco_file(tmp_path))


def test_the_truth_is_all_right(things):
    result = measure_boxes(stub_model(thing_under), things)
    for figure in ("tight", "jittered", "oracle", "oracle_jittered", "box"):
        assert result.miou(figure) == 1
    assert result.tables()[0].rows[0] == ("all", 4, 1, 1, 1, 1, 1)
    assert result.tables()[0].rows[1] == ("small", 0, None, None, None, None, None)


def test_the_single_mask_is_its_choice_and_the_oracle_takes_any(things):
    def tell(prompt):
        right = thing_under(prompt)
        half = right.copy()
        half[:, ::2] = False
        return np.stack([half, right, half, half])

    result = measure_boxes(stub_model(tell), things)
    assert (result.miou("tight"), result.miou("jittered")) == (0.5, 0.5)
    assert (result.miou("oracle"), result.miou("oracle_jittered")) == (1, 1)


def test_boxes_are_asked_tight_first_then_jittered(things):
    seen = []

    def tell(prompt):
        # A batch is padded with its last prompt, so one may come twice in a row.
        if not seen or not np.array_equal(seen[-1], prompt.boxes[0]):
            seen.append(prompt.boxes[0])
        return thing_under(prompt)

    measure_boxes(stub_model(tell), things)
    assert len(seen) == 4 * (1 + DRAWS)
    assert seen[0].tolist() == list(BOXES["red"])
    assert seen[1 + DRAWS].tolist() == list(BOXES["blue"])
    assert not any(np.array_equal(seen[0], box) for box in seen[1 : 1 + DRAWS])


def test_jitter_is_bounded_fixed_and_different_for_each():
    box = np.float32([20, 10, 60, 90])
    boxes = np.concatenate([jittered_boxes(box, HW, f"a {n}") for n in range(200)])
    off = np.abs(boxes - box) / np.array([40, 80, 40, 80])
    assert JITTER * 0.95 < off.max() <= JITTER + 1e-6
    assert abs((boxes - box).mean()) < 0.5
    again = jittered_boxes(box, HW, "a 0")
    assert np.array_equal(again, boxes[:DRAWS])
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert not np.array_equal(jittered_boxes(box, HW, "a 0", seed=1), again)


def test_jittered_boxes_stay_in_the_picture_and_keep_a_pixel():
    whole = jittered_boxes(np.float32([0, 0, HW[1], HW[0]]), HW, "x", draws=50)
    assert whole.min() >= 0
    assert (whole[:, 2:] <= [HW[1], HW[0]]).all()
    dot = np.float32([127, 95, 128, 96])
    dots = jittered_boxes(dot, HW, "x", draws=50)
    assert ((dots[:, 2:] - dots[:, :2]) >= 1).all()


def test_the_order_of_pictures_changes_nothing(things):
    def tell(prompt):
        mask = np.zeros(HW, bool)
        x0, y0, x1, y1 = np.round(prompt.boxes[0]).astype(int)
        mask[y0:y1, x0:x1] = True
        return mask

    turned = Things(things.name, things.folder, things.pictures[::-1], things.sha256, {})
    one, other = (measure_boxes(stub_model(tell), some) for some in (things, turned))
    assert {row.jittered for row in one.rows} == {row.jittered for row in other.rows}
    assert 0.75 < one.miou("jittered") < 1
    assert one.miou("tight") == 1


def test_without_jittered_boxes(things):
    result = measure_boxes(stub_model(thing_under), things, draws=0)
    assert result.to_json()["miou"] == {
        "tight": 1,
        "jittered": None,
        "oracle": 1,
        "oracle_jittered": None,
        "box": 1,
    }
    assert result.cases()[0].caption == "blue: IoU 1.00 from the tight box"
    assert result.plots()


def test_grabcut_finds_the_edge_within_a_loose_box():
    truth = part(BOXES["blue"])
    noise = np.random.default_rng(0).normal(0, 12, (*HW, 3))
    image = np.where(truth[..., None], (40, 60, 200), (190, 180, 120)) + noise
    image = np.clip(image, 0, 255).astype(np.uint8)
    x0, y0, x1, y1 = BOXES["blue"]
    boxes = np.float32([[x0 - 6, y0 - 4, x1 + 5, y1 + 8]] * 2)
    first, second = GrabCutBoxMasks().masks(image, boxes)
    assert mask_iou(first[0], truth) > 0.98
    assert np.array_equal(first, second)


def test_grabcut_is_measured_like_a_model(tmp_path):
    result = measure_boxes(GrabCutBoxMasks(), read_grabcut_things(grabcut_folder(tmp_path, ("a",))))
    assert result.info["segmenter"] == "cv2.grabCut"
    assert result.miou("tight") == result.miou("oracle") > 0.95


def test_grabcut_of_the_whole_picture_is_the_whole_picture():
    image = np.zeros((*HW, 3), np.uint8)
    (masks,) = GrabCutBoxMasks().masks(image, np.float32([[0, 0, HW[1], HW[0]]]))
    assert masks.shape == (1, *HW)
    assert masks.all()


@pytest.mark.slow
def test_grabcut_gives_the_figure_of_its_set():
    folder = Path(__file__).parents[3] / "shared/data/grabcut"
    if not folder.is_dir():
        pytest.skip("needs the GrabCut images in ../shared/data/grabcut")
    from perception.evaluate.check import grabcut_checks

    (check,) = grabcut_checks(folder)
    assert check.passed, check


def test_a_box_is_answered_as_the_library_answers_it():
    """Small things are looked at closer in both, whatever else is asked."""
    model = perception.load("nano")
    image = read_image(PARK)
    boxes = np.array([[100, 120, 160, 170], [20, 30, 520, 400], [110, 130, 150, 190]], np.float32)
    answers = list(PredictorBoxMasks(model.predictor).masks(image, boxes))
    assert len(answers) == 3
    for box, masks in zip(boxes, answers, strict=True):
        found = model.segment(image, boxes=box[None])
        assert masks.shape == (4, *image.shape[:2])
        assert (masks[0] == found.masks[0]).all()
