"""Boxes that show a detector what is meant."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import ColorSegmenter, ShowableDetector, color_model, drawing

from perception.detectors.protocol import as_examples, examples_info
from perception.errors import PromptError
from perception.models.model import Model
from perception.predictor.whole import WholeImagePredictor
from perception.types import Examples


@pytest.fixture
def model() -> Model:
    return Model(ShowableDetector(), WholeImagePredictor(ColorSegmenter()))


@pytest.mark.parametrize(
    ("example", "box"), [([10, 10, 20, 20], [8, 8, 40, 40]), ([70, 40, 90, 60], [64, 32, 112, 80])]
)
def test_an_example_says_what_is_meant(model, example, box):
    found = model(drawing(), examples=[example])
    assert found.boxes.tolist() == [box]
    assert found.classes == ("object",)
    assert found.info["text"] == {"object": "anything"}
    assert found.info["examples"] == [example]
    named = model.detect(drawing(), "thing", examples=[example], not_examples=[[1, 2, 3, 4]])
    assert named.labels == ("thing",)
    assert named.info["not_examples"] == [[1, 2, 3, 4]]


def test_the_model_itself_was_shown_nothing(model):
    model(drawing(), examples=[[10, 10, 20, 20]])
    assert model.examples is None
    assert "examples" not in model(drawing(), "red").info


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "name what to find, or show an example"),
        ({"not_examples": [[1, 2, 3, 4]]}, "need a text or an example of what is"),
        ({"examples": [[1, 2, 1, 4]]}, "box 1,2,1,4 is empty"),
        ({"examples": [[1, 2, np.nan, 4]]}, "finite numbers"),
        ({"examples": [[1, 2, 3, 4]], "tile": 64}, "not together with tiles"),
    ],
)
@pytest.mark.parametrize("method", ["__call__", "detect"])
def test_what_makes_no_sense(model, method, given, error):
    with pytest.raises(PromptError, match=error):
        getattr(model, method)(drawing(), **given)


def test_a_detector_that_takes_none():
    with pytest.raises(PromptError, match=r"color-detector reads text only .* --model sam3"):
        color_model()(drawing(), "red", examples=[[1, 2, 3, 4]])


def test_boxes_of_both_kinds():
    assert as_examples([], ()) is None
    both = as_examples([[1, 2, 3, 4]], [[5, 6, 7, 8], [0, 0, 9, 9]])
    assert both.labels.tolist() == [1, 0, 0]
    assert len(both) == 3
    assert examples_info(both) == {
        "examples": [[1, 2, 3, 4]],
        "not_examples": [[5, 6, 7, 8], [0, 0, 9, 9]],
    }
    assert examples_info(None) == {}


def test_examples_are_checked():
    assert Examples([[1, 2, 3, 4]]).labels.tolist() == [1]
    with pytest.raises(PromptError, match="got none"):
        Examples(np.zeros((0, 4)))
    with pytest.raises(PromptError, match=r"1 \(such a thing\) or 0, got \[2\]"):
        Examples([[1, 2, 3, 4]], [2])
    with pytest.raises(ValueError, match="labels"):
        Examples([[1, 2, 3, 4]], [1, 0])
