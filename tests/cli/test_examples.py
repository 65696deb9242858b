"""Example boxes on the command line."""

import json
from pathlib import Path

import pytest
from fakes import ColorSegmenter, ShowableDetector

from perception.models import load as loading
from perception.models.model import Model
from perception.predictor.whole import WholeImagePredictor


@pytest.fixture
def showable(perception, monkeypatch):
    """The command line over a model that takes examples."""
    model = Model(ShowableDetector(), WholeImagePredictor(ColorSegmenter()))
    monkeypatch.setattr(loading, "load", lambda *_, **__: model)
    return perception


@pytest.mark.parametrize("command", ["segment", "detect"])
def test_an_example_is_enough(showable, command):
    code, _, _ = showable(command, "in/a.png", "--example", "10,10,20,20", "--json", "one.json")
    assert code == 0
    content = json.loads(Path("one.json").read_text("utf-8"))
    (annotation,) = content["annotations"]
    assert annotation["bbox"] == [8, 8, 32, 32]
    assert content["info"]["examples"] == [[10, 10, 20, 20]]


@pytest.mark.parametrize("command", ["segment", "detect"])
def test_with_a_text(showable, command):
    boxes = ["--example", "70,40,90,60", "--not-example", "1,1,5,5"]
    code, out, _ = showable(command, "in/a.png", "--text", "thing", *boxes)
    assert code == 0
    assert "thing" in out


@pytest.mark.parametrize("command", ["segment", "detect"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--example", "1,1,5,5"], "in/a.png: color-detector reads text only"),
        (["--not-example", "1,1,5,5"], "need a text or an example of what is"),
        (["--example", "1,1,1,5"], "box 1,1,1,5 is empty"),
        (["--text", "red", "--example", "1,1,5,5", "--tile", "64"], "not together with tiles"),
    ],
)
def test_errors_are_one_line(perception, command, arguments, message):
    code, _, err = perception(command, "in/a.png", *arguments, "-q")
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "in/a.png"],
        ["segment", "in/a.png", "--example", "1,1,5,5", "--box", "1,1,5,5"],
        ["segment", "in/a.png", "--example", "1,1,5"],
        ["detect", "in/a.png"],
    ],
)
def test_usage(perception, arguments):
    code, _, err = perception(*arguments)
    assert code == 2
    assert "--example" in err
    assert perception.loaded == []
