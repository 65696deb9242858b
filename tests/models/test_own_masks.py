"""A detector that is a segmenter as well: its boxes' own masks go all the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import SIDE, ColorDetector, ColorSegmenter, drawing

from perception import pipeline
from perception.detectors.decode import label
from perception.imaging.preprocess import Frame
from perception.models.model import Model
from perception.predictor.predictions import MaskPredictions
from perception.predictor.whole import WholeImagePredictor
from perception.prompts.grammar import parse
from perception.runs.image_reader import ReadPicture
from perception.runs.records import Task
from perception.runs.worker import Question, answer_pictures
from perception.types import BoxMasks, Candidates, Detections

CELLS = 64


class MaskingColorDetector(ColorDetector):
    """Gives the upper half of each box as its mask; of blue things an empty one."""

    def candidates(self, images, phrases, *, floor):
        found = super().candidates(images, phrases, floor=floor)
        return [
            replace(one, masks=self._masks(one, image, phrases))
            for one, image in zip(found, images, strict=True)
        ]

    def detect(self, images, phrases, *, threshold=0.3):
        found = self.candidates(images, phrases, floor=threshold)
        return [label(one, phrases, threshold=threshold)[0] for one in found]

    def _masks(self, found, image, phrases):
        frame = Frame(image.shape[:2], SIDE, stretched=True)
        logits = np.full((len(found), CELLS, CELLS), -4.0, np.float32)
        for one, box, scores in zip(logits, found.boxes, found.scores, strict=True):
            if phrases.phrases[scores.argmax()] != "blue":
                corners = frame.boxes_to_model(box[None])[0] * CELLS / SIDE
                x0, y0, x1, y1 = corners.round().astype(int)
                one[y0 : (y0 + y1) // 2, x0:x1] = 2.0
        return BoxMasks(logits, frame)


def test_the_segmenter_is_not_asked():
    segmenter = ColorSegmenter()
    image = drawing(64, 64, [("red", (8, 8, 40, 40)), ("blue", (44, 4, 60, 20))])
    found = pipeline.find_masks(
        MaskingColorDetector(), WholeImagePredictor(segmenter), image, "red. blue"
    )
    assert segmenter.encoded == 0
    assert found.labels == ("red",)  # an empty mask is no instance
    assert found.boxes.tolist() == [[8, 8, 40, 24]]
    assert found.masks[0, 8:24, 8:40].all()
    assert found.quality.tolist() == [pytest.approx(1 / (1 + np.exp(-2.0)))]
    assert found.stability.tolist() == [1]
    assert list(found.seconds) == ["detect", "masks", "select"]


def test_nothing_found():
    image = drawing(64, 64, [])
    predictor = WholeImagePredictor(ColorSegmenter())
    found = pipeline.find_masks(MaskingColorDetector(), predictor, image, "red")
    assert found.masks.shape == (0, 64, 64)


def test_boxes_only():
    image = drawing(64, 64)
    found = pipeline.find_boxes(MaskingColorDetector(), image, "red")
    assert found.boxes.tolist() == [[8, 8, 40, 40]]
    assert found.rles == ()


def test_a_run_stores_the_same_masks():
    image = drawing(64, 64, [("red", (8, 8, 40, 40)), ("blue", (44, 4, 60, 20))])
    model = Model(MaskingColorDetector(), WholeImagePredictor(ColorSegmenter()))
    question = Question(parse("red. blue"), True, 0.05, 0.9, 0.3, 10**6)
    picture = ReadPicture(Task(1, "1.png"), image, "uid", None)
    (record,) = answer_pictures(model, [picture], question)
    found = model(image, "red. blue")
    assert model.segmenter.encoded == 0
    assert record.masks == (found.rles[0].counts, None)
    assert record.quality.tolist() == [found.quality[0], 0]


def test_masks_go_with_their_boxes():
    masks = BoxMasks(np.arange(3 * 4.0).reshape(3, 2, 2), Frame((8, 8), 8))
    boxes = [[0, 0, 2, 2], [20, 20, 22, 22], [4, 4, 9, 9]]
    found = Candidates(boxes, [[0.5], [0.6], [0.7]], [0, 1, 2], masks)
    assert found[[2, 0]].masks.logits[:, 0, 0].tolist() == [8, 0]
    labelled, rows = label(found, parse("cat"), threshold=0.55)
    assert labelled.masks.logits[:, 0, 0].tolist() == [8, 4]
    assert rows.tolist() == [2, 1]
    clipped = labelled.clipped((8, 8))
    assert clipped.masks.logits[:, 0, 0].tolist() == [8]
    assert Detections.empty().masks is None


def test_as_many_masks_as_boxes():
    masks = BoxMasks(np.zeros((1, 2, 2)), Frame((8, 8), 8))
    with pytest.raises(ValueError, match="2 boxes with masks need as many: 1"):
        Candidates(np.zeros((2, 4)), np.zeros((2, 1)), [0, 1], masks)
    with pytest.raises(ValueError, match="logits"):
        BoxMasks(np.zeros((2, 2)), Frame((8, 8), 8))


def test_no_masks_are_no_answers():
    answers = MaskPredictions.of_detector(BoxMasks(np.zeros((0, 4, 4)), Frame((8, 8), 8)))
    assert answers.boxes.shape == (0, 4)
    assert answers.rles == ()
