"""What the commands take."""

import inspect

import click
import pytest

from perception.cli.commands import cli, status
from perception.cli.options import Options
from perception.models.load import load
from perception.models.model import Model


def options(**changes):
    parts = {
        "inputs": ("a.png",),
        "out": None,
        "json": None,
        "save": None,
        "model": "nano",
        "device": "auto",
        "precision": "auto",
        "threads": 0,
        "max_pixels": 10,
        "quiet": False,
    }
    return Options(**(parts | changes))


@pytest.mark.parametrize(
    ("given", "pictures", "json_path"),
    [
        ({}, ("overlay",), "perception-out/coco.json"),
        ({"out": "x"}, ("overlay",), "x/coco.json"),
        ({"json": "y.json"}, ("overlay",), "y.json"),
        ({"json": "-"}, (), "None"),
        ({"json": "-", "out": "x"}, ("overlay",), "None"),
        ({"json": "-", "save": ("masks",)}, ("masks",), "None"),
        ({"save": ()}, (), "perception-out/coco.json"),
    ],
)
def test_what_is_written_where(given, pictures, json_path):
    made = options(**given)
    assert made.pictures == pictures
    assert (made.json_path and made.json_path.as_posix()) == (
        None if json_path == "None" else json_path
    )


def defaults(command):
    return {
        option.name: option.default
        for option in cli.commands[command].params
        if isinstance(option, click.Option) and option.show_default
    }


@pytest.mark.parametrize("command", ["segment", "detect"])
def test_defaults_come_from_the_library(command):
    shown = defaults(command)
    call = inspect.signature(Model.__call__).parameters
    loads = inspect.signature(load).parameters
    assert shown == {
        "threshold": call["threshold"].default,
        "max_pixels": call["max_pixels"].default,
        "model": loads["name"].default,
        "device": loads["device"].default,
        "precision": loads["precision"].default,
        "threads": loads["threads"].default,
    }


def test_defaults_of_everything_come_from_the_library():
    shown = defaults("everything")
    call = inspect.signature(Model.everything).parameters
    assert (shown.pop("model"), shown.pop("threads")) == ("nano", 0)
    assert (shown.pop("device"), shown.pop("precision")) == ("auto", "auto")
    assert shown == {name: call[name].default for name in shown}
    # Left open: what suits the model.
    assert call["quality"].default is call["stability"].default is None
    assert set(shown) == {
        "points_per_side",
        "nms",
        "crop_layers",
        "min_region",
        "min_area",
        "max_pixels",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["a.png"], "either --text"),
        (["a.png", "--text", "red", "--point", "1,2"], "either --text"),
        (["a.png", "--text", "red", "--box", "1,2,3,4"], "either --text"),
        (["a.png", "--point", "1"], "expected x,y"),
        (["a.png", "--point", "1,2,1,1"], "expected x,y"),
        (["a.png", "--point", "a,b"], "expected x,y"),
        (["a.png", "--point", "1,2,0.5"], "third number"),
        (["a.png", "--box", "1,2,3"], "expected x0,y0,x1,y1"),
        (["a.png", "--text", "red", "--threshold", "2"], "not in the range"),
        (["a.png", "--text", "red", "--threads", "-1"], "not in the range"),
        (["a.png", "--text", "red", "--save", "overlay,photo"], "'photo' is none of"),
        (["a.png", "--text", "red", "--color"], "No such option"),
    ],
)
def test_usage_errors_are_one_line(capsys, arguments, message):
    assert status(["segment", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["a.png", "--text", "red"], "No such option"),
        (["a.png", "--threshold", "0.3"], "No such option"),
        (["a.png", "--points-per-side", "0"], "0 is not in the range x>=1"),
        (["a.png", "--points-per-side", "8.5"], "not a valid integer"),
        (["a.png", "--quality", "88"], "not in the range 0<=x<=1"),
        (["a.png", "--stability", "-1"], "not in the range"),
        (["a.png", "--nms", "1.5"], "not in the range"),
        (["a.png", "--crop-layers", "-1"], "not in the range"),
        (["a.png", "--min-area", "-1"], "not in the range"),
        (["a.png", "--min-region", "-1"], "not in the range"),
    ],
)
def test_usage_errors_of_everything_are_one_line(capsys, arguments, message):
    assert status(["everything", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


def test_detect_needs_a_text(capsys):
    assert status(["detect", "a.png"]) == 2
    assert "--text" in capsys.readouterr().err


def test_help_and_version(capsys):
    shown = (["--help"], ["segment", "-h"], ["detect", "--help"], ["everything", "-h"])
    for arguments in (*shown, ["--version"]):
        assert status(arguments) == 0
    assert "--candidates" in capsys.readouterr().out
    assert status([]) == 2
    assert "Usage" in capsys.readouterr().err
