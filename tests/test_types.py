"""Prompts, candidates and detections are checked once, when they are made."""

import numpy as np
import pytest

from perception.checks import checked_array
from perception.errors import PromptError
from perception.imaging.preprocess import Frame
from perception.types import Detections, MaskCandidates, Prompt, Proposals

LOGITS = np.zeros((2, 4, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("prompt", "length", "ambiguous"),
    [
        (Prompt(), 0, False),
        (Prompt(points=[[1, 2]]), 1, True),
        (Prompt(points=[[1, 2], [3, 4]]), 1, False),
        (Prompt(boxes=[[0, 0, 1, 1], [2, 2, 3, 3]]), 2, False),
        (Prompt(points=[[1, 2]], boxes=[[0, 0, 9, 9]]), 1, False),
        (Prompt(points=[[1, 2]], mask_logits=np.zeros((1, 8, 8))), 1, False),
    ],
)
def test_prompt_length(prompt, length, ambiguous):
    assert len(prompt) == length
    assert prompt.is_ambiguous is ambiguous


def test_points_are_in_by_default():
    prompt = Prompt(points=[[1, 2], [3, 4]])
    assert prompt.point_labels.tolist() == [1, 1]
    assert prompt.points.dtype == np.float32
    assert prompt.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"points": [[1, 2]], "point_labels": [1, 0]}, "as many labels"),
        ({"points": [[1, 2]], "point_labels": [2]}, "1 .in. or 0"),
        ({"points": [[np.nan, 2]]}, "finite"),
        ({"boxes": [[0, 0, np.inf, 1]]}, "finite"),
        ({"boxes": [[5, 0, 1, 9]]}, "box 5,0,1,9 is empty"),
        ({"boxes": [[5, 5, 9, 5]]}, "is empty"),
        ({"points": [[1, 2]], "boxes": [[0, 0, 1, 1], [2, 2, 3, 3]]}, "refine one box"),
        ({"boxes": [[0, 0, 1, 1]], "mask_logits": np.zeros((2, 8, 8))}, "mask_logits"),
    ],
)
def test_prompts_that_make_no_sense(parts, message):
    with pytest.raises(PromptError, match=message):
        Prompt(**parts)


@pytest.mark.parametrize("parts", [{"points": [1, 2]}, {"boxes": [[1, 2, 3]]}])
def test_prompts_of_another_shape(parts):
    with pytest.raises(ValueError, match="expected an array of shape"):
        Prompt(**parts)


def test_candidates_best():
    quality = np.array([[0.9, 0.1, 0.3, 0.2], [0.1, 0.5, 0.3, 0.4]], np.float32)
    frame = Frame((16, 16), 16)
    assert MaskCandidates(LOGITS, quality, frame, ambiguous=False).best().tolist() == [0, 0]
    assert MaskCandidates(LOGITS, quality, frame, ambiguous=True).best().tolist() == [2, 1]


def test_candidates_masks():
    logits = LOGITS.copy()
    logits[1, 3] = 1
    candidates = MaskCandidates(logits, np.zeros((2, 4)), Frame((16, 12), 16), ambiguous=False)
    assert candidates.masks().shape == (2, 16, 12)
    assert not candidates.masks().any()
    picked = candidates.masks(np.array([0, 3]))
    assert not picked[0].any()
    assert picked[1].all()


def test_no_candidates():
    none = MaskCandidates(LOGITS[:0], np.zeros((0, 4)), Frame((16, 12), 16), ambiguous=False)
    assert len(none) == 0
    assert none.best().tolist() == []
    assert none.masks().shape == (0, 16, 12)


def detections():
    boxes = [[0, 0, 4, 4], [-5, 2, 3, 90], [30, 0, 40, 4]]
    return Detections(boxes, [0.9, 0.8, 0.7], [0, 1, 0], [0, 2, 1], [1, 0, -1], [0.1, 0.2, 0.7])


def test_detections_can_be_picked():
    picked = detections()[np.array([True, False, True])]
    assert len(picked) == 2
    assert picked.phrase_ids.tolist() == [0, 1]
    assert picked.boxes.shape == (2, 4)


def test_detections_are_clipped():
    clipped = detections().clipped((10, 20))
    assert clipped.boxes.tolist() == [[0, 0, 4, 4], [0, 2, 3, 10]]
    assert clipped.class_ids.tolist() == [0, 1]


def test_no_detections():
    none = Detections.empty()
    assert len(none) == len(none.clipped((5, 5))) == 0
    assert none.boxes.shape == (0, 4)


def test_detections_of_unlike_lengths():
    with pytest.raises(ValueError, match="scores: expected an array of shape 1"):
        Detections([[0, 0, 1, 1]], [0.5, 0.5], [0], [0], [0], [0])


def test_an_empty_array_takes_any_shape():
    assert checked_array("x", [], np.float32, (None, 4)).shape == (0, 4)


def proposals(**changes):
    parts = {
        "logits": LOGITS[:, 0],
        "quality": [0.5, 0.9],
        "prompt_ids": [0, 3],
        "candidate_ids": [3, 1],
        "frame": Frame((5, 10), 32),
    }
    return Proposals(**(parts | changes))


def test_proposals():
    made = proposals()
    assert len(made) == 2
    assert made.quality.dtype == np.float32
    assert made.candidate_ids.dtype == np.int64
    nothing = proposals(logits=[], quality=[], prompt_ids=[], candidate_ids=[])
    assert len(nothing) == 0
    assert nothing.logits.shape == (0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": LOGITS}, "logits: expected"),
        ({"quality": [0.5]}, "quality: expected"),
        ({"prompt_ids": [0, 1, 2]}, "prompt_ids: expected"),
        ({"candidate_ids": [0, 1]}, "1, 2 or 3"),
        ({"prompt_ids": [3, 0]}, "sorted by point"),
        ({"prompt_ids": [1, 1]}, "sorted by point"),
        ({"prompt_ids": [1, 1], "candidate_ids": [2, 2]}, "sorted by point"),
    ],
)
def test_proposals_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        proposals(**changes)
