"""The product, with a detector and a segmenter that look at colors."""

import numpy as np
import pytest
from fakes import ColorDetector, ColorSegmenter, drawing

from perception import pipeline
from perception.errors import PromptError
from perception.predictor.whole import WholeImagePredictor
from perception.types import Prompt

PREDICTOR = WholeImagePredictor(ColorSegmenter())


def test_text_to_masks():
    image = drawing()
    found = pipeline.find_masks(ColorDetector(), PREDICTOR, image, "Red thing. sky: blue")
    assert found.labels == ("Red thing", "sky")
    assert found.classes == ("Red thing", "sky")
    assert found.boxes.tolist() == [[8, 8, 40, 40], [64, 32, 112, 80]]
    assert found.masks.sum(axis=(1, 2)).tolist() == [32 * 32, 48 * 48]
    assert found.quality.tolist() == [np.float32(0.95)] * 2
    assert found.stability.tolist() == [1, 1]
    assert found.prompt_ids.tolist() == [0, 1]
    assert list(found.seconds) == ["detect", "encode", "decode", "masks", "select"]
    assert found.image is image


def test_boxes_only():
    found = pipeline.find_boxes(ColorDetector(), drawing(), "red, !blue")
    assert found.labels == ("red",)
    assert found.rles == ()
    assert list(found.seconds) == ["detect"]


def test_nothing_found_encodes_nothing():
    segmenter = ColorSegmenter()
    predictor = WholeImagePredictor(segmenter)
    found = pipeline.find_masks(ColorDetector(), predictor, drawing(), "green")
    assert len(found) == 0
    assert found.classes == ("green",)
    assert found.masks.shape == (0, 96, 128)
    assert segmenter.encoded == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 30])
def test_thresholds(threshold):
    with pytest.raises(PromptError, match="between 0 and 1"):
        pipeline.find_boxes(ColorDetector(), drawing(), "red", threshold=threshold)


def test_threshold_is_applied():
    image = drawing(things=[("red", (8, 8, 24, 24)), ("red", (64, 8, 80, 24))])
    find = pipeline.find_masks
    assert len(find(ColorDetector(), PREDICTOR, image, "red")) == 2
    assert len(find(ColorDetector(), PREDICTOR, image, "red", threshold=0.85)) == 1


def test_an_empty_mask_is_no_instance():
    boxes = [[64, 8, 90, 20], [8, 8, 40, 40]]
    answers = pipeline.predict_masks(PREDICTOR.encode(drawing()), np.float32(boxes))
    assert answers.prompt_ids.tolist() == [1]
    assert answers.boxes.tolist() == [[8, 8, 40, 40]]
    assert len(answers.rles) == len(answers.quality) == len(answers.stability) == 1


def test_many_boxes_in_pieces_are_the_same_as_one_by_one():
    image = drawing(256, 256, [("red", (8, 8, 248, 248))])
    corners = np.random.default_rng(0).integers(0, 120, (75, 2))
    boxes = np.hstack([corners, corners + 100]).astype(np.float32)
    encoded = PREDICTOR.encode(image)
    together = pipeline.predict_masks(encoded, boxes)
    alone = [pipeline.predict_masks(encoded, boxes[n : n + 1]) for n in range(75)]
    assert together.prompt_ids.tolist() == list(range(75))
    assert [one.rles[0] for one in alone] == list(together.rles)


def test_candidates_are_best_first():
    encoded, prompt = PREDICTOR.encode(drawing()), Prompt(points=[[20, 20]])
    answers = pipeline.segment_prompt(encoded, prompt, candidates=True)
    np.testing.assert_allclose(answers.quality, [0.9, 0.7, 0.5])
    assert answers.prompt_ids.tolist() == [0, 0, 0]
    (best,) = pipeline.segment_prompt(encoded, prompt).rles
    assert best == answers.rles[0]
