"""``perception evaluate clicks``, ``boxes`` and ``everything``."""

import json
from pathlib import Path

import pytest
from evaluate.things_on_disk import coco_file, grabcut_folder


@pytest.fixture
def truth(pictures):
    coco_file(Path("set"))
    return ("set/truth.json", "--images", "set/images")


def test_clicks(perception, truth):
    code, out, err = perception("evaluate", "clicks", *truth, "--most", "3", "-q")
    assert (code, err) == (0, "")
    head, names, own, oracle, *_ = out.splitlines()
    assert head == "mIoU after clicks, and number of clicks (NoC)"
    assert names.split()[:3] == ["things", "1", "click"]
    assert names.split()[-4:] == ["NoC@85", "failed", "NoC@90", "failed"]
    assert own.split()[:3] == ["the", "model's", "choice"]
    assert oracle.split()[:2] == ["oracle", "4"]


def test_boxes_with_all_that_is_written(perception, truth):
    arguments = (
        "evaluate",
        "boxes",
        *truth,
        "--json",
        "out/b.json",
        "--report",
        "out/b.html",
        "-q",
    )
    assert perception(*arguments) == (0, "", "")
    figures = json.loads(Path("out/b.json").read_text())
    assert figures["measured"] == "Boxes: 4 things"
    assert figures["miou"]["tight"] > 0.9
    assert figures["info"]["segmenter"] == "color-segmenter"
    assert Path("out/b.html").read_text().startswith("<!DOCTYPE html>")
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    assert sorted(path.name for path in before) == ["b.html", "b.json", "b.json.kept"]
    assert perception(*arguments)[0] == 0
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


@pytest.mark.parametrize("command", ["clicks", "boxes", "everything"])
def test_the_first_images_alone(perception, truth, command):
    def measured(*arguments):
        whole = ("evaluate", command, *truth, "--json", "out.json", "-q", *arguments)
        assert perception(*whole) == (0, "", "")
        return json.loads(Path("out.json").read_text())["info"]

    images = len(json.loads(Path("set/truth.json").read_text())["images"])
    assert measured("--limit", "1")["left out"]["images beyond the limit"] == images - 1
    # What was answered is kept: the rest goes on with it, and nothing is left out any more.
    assert len(Path("out.json.kept").read_text().splitlines()) == 1 + 1
    assert "images beyond the limit" not in measured("--limit", "99")["left out"]
    assert len(Path("out.json.kept").read_text().splitlines()) == 1 + images


def test_everything(perception, truth):
    arguments = ("--points-per-side", "8", "--stability", "0.5", "--json", "-")
    code, out, err = perception("evaluate", "everything", *truth, *arguments, "-q")
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert figures["mask"]["all"]["AR@1000"] > 0.8
    assert figures["info"]["points_per_side"] == 8
    assert not list(Path().glob("*.kept"))


def test_a_grabcut_folder_and_grabcut(perception, pictures):
    grabcut_folder(Path("set"), ("a",))
    code, out, err = perception("evaluate", "boxes", "--data", "set", "--model", "grabcut", "-q")
    assert (code, err) == (0, "")
    assert "mIoU of masks from boxes" in out
    assert perception.loaded == []


@pytest.mark.parametrize("command", ["clicks", "boxes", "everything"])
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "give either TRUTH.json with --images, or --data"),
        (("a.json", "--data", "set"), "give either TRUTH.json"),
        (("a.json",), "--images is the folder"),
        (("--data", "set", "--images", "in"), "--images is the folder"),
    ],
)
def test_usage(perception, command, arguments, why):
    code, _, err = perception("evaluate", command, *arguments)
    assert code == 2
    assert why in err


def test_another_measurement_on_the_same_file(perception, truth):
    arguments = ("evaluate", "clicks", *truth, "--json", "c.json", "-q")
    assert perception(*arguments, "--most", "2")[0] == 0
    before = Path("c.json").read_bytes()
    code, _, err = perception(*arguments, "--most", "3")
    assert code == 1
    assert err.startswith("perception: error: c.json.kept: keeps answers of another measurement")
    assert err.count("\n") == 1
    assert Path("c.json").read_bytes() == before


def test_what_isnt_there(perception, truth):
    code, _, err = perception("evaluate", "clicks", "none.json", "--images", "set/images")
    assert (code, err.count("\n")) == (1, 1)
    assert "none.json: no such file" in err
    code, _, err = perception("evaluate", "boxes", "--data", "set")
    assert (code, err.count("\n")) == (1, 1)
    assert "expected the folders images and masks" in err
