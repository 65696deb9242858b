"""Whole runs of ``perception everything``."""

import json
import sys
from pathlib import Path

import pytest

from perception.cli import run

# What the color segmenter's masks pass: its predicted quality is 0.5, 0.9 and 0.7.
FEW = ("--points-per-side", "8", "--stability", "0.9")


def content(path="perception-out/coco.json"):
    return json.loads(Path(path).read_text("utf-8"))


def files(folder="perception-out"):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def test_everything_in_a_picture(perception):
    code, out, err = perception("everything", "in/a.png", *FEW)
    assert code == 0
    assert files() == ["a.png.overlay.png", "coco.json"]
    lines = [line.split() for line in out.splitlines()]
    assert ["object", "0.90", "0.90", "8,8,40,40", "1024"] in lines
    for stage in ("read", "encode", "decode", "masks", "select", "write"):
        assert stage in out
    assert len(err.splitlines()) == 2  # the note on nano, and on the candidates
    made = content()
    assert sorted(a["bbox"] for a in made["annotations"]) == [
        [0, 0, 128, 96],
        [8, 8, 32, 32],
        [64, 32, 48, 48],
    ]
    for annotation in made["annotations"]:
        assert annotation["crop_box"] == [0, 0, 128, 96]
        assert len(annotation["point_coords"]) == 1
    assert made["categories"] == [{"id": 1, "name": "object"}]
    asked = made["info"]["everything"]
    assert (asked["points_per_side"], asked["stability"], asked["nms"]) == (8, 0.9, 0.7)
    assert "detector" not in made["info"]


def test_typing_every_default_changes_nothing(perception):
    assert perception("everything", "in/a.png", "--out", "perception-out")[0] == 0
    before = Path("perception-out/coco.json").read_bytes()
    arguments = "--points-per-side 32 --quality 0.88 --stability 0.95 --nms 0.7 --crop-layers 0 "
    arguments += "--min-region 0 --min-area 0 --out perception-out --save overlay --model nano "
    arguments += "--json perception-out/coco.json --threads 0 --device auto --precision auto "
    arguments += "--max-pixels 200000000"
    assert perception("everything", "in/a.png", *arguments.split())[0] == 0
    assert Path("perception-out/coco.json").read_bytes() == before


def test_options_reach_the_library(perception):
    arguments = "--points-per-side 4 --quality 0.6 --stability 0 --nms 1 --crop-layers 1 "
    arguments += "--min-region 9 --min-area 50"
    assert perception("everything", "in/a.png", *arguments.split())[0] == 0
    asked = content()["info"]["everything"]
    assert asked["quality"] == 0.6
    assert asked["crop_layers"] == 1
    assert (asked["min_region"], asked["min_area"]) == (9, 50)
    areas = [annotation["area"] for annotation in content()["annotations"]]
    assert len(areas) > 3
    assert min(areas) >= 50


def test_folders_masks_and_cutouts(perception, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    arguments = ["everything", "in", *FEW, "--save", "overlay,masks,cutouts", "--out", "in"]
    for _ in range(2):
        code, _, err = perception(*arguments)
        assert code == 0
        assert "2/2" in err
        assert [image["file_name"] for image in content("in/coco.json")["images"]] == [
            "a.png",
            "sub/a.png",
        ]
    assert "a.png.mask-003-object.png" in files("in")
    assert "sub/a.png.cutout-001-object.png" in files("in")


def test_json_alone_on_standard_output(perception):
    code, out, _ = perception("everything", "in", *FEW, "--json", "-")
    assert code == 0
    assert len(json.loads(out)["annotations"]) == 5
    assert not Path("perception-out").exists()


def test_progress_over_the_points_goes_to_standard_error(perception, monkeypatch):
    monkeypatch.setattr(run, "_SECONDS_WITHOUT_BAR", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = perception("everything", "in/a.png", *FEW, "--json", "-")
    assert code == 0
    assert json.loads(out)
    assert "0/64" in err
    assert perception("everything", "in/a.png", *FEW, "--json", "-", "-q")[2] == ""


def test_nothing_found_says_what_to_do(perception):
    code, out, err = perception("everything", "in", *FEW, "--quality", "1")
    assert code == 0
    assert out.count("nothing found") == 2
    assert err.count("lower --quality or --stability") == 2
    assert err.count("0 masks of 192 candidates: 192 below a quality of 1 (--quality)") == 2
    assert "lower" not in perception("everything", "in", *FEW, "--quality", "1", "-q")[2]
    assert content()["images"][0]["neg_category_ids"] == [1]
    assert content()["images"][0]["dropped"]["quality"] == 192


def test_little_found_says_where_the_others_fell(perception):
    err = perception("everything", "in/a.png", *FEW)[2].splitlines()[-1]
    assert "3 masks of 192 candidates" in err
    assert "128 below a quality of 0.88 (--quality)" in err
    assert "repeated a better one (--nms)" in err
    assert (
        "dropped" in json.loads(perception("everything", "in", *FEW, "--json", "-")[1])["images"][0]
    )


def test_of_many_masks_only_the_first_are_listed(perception):
    arguments = ["everything", "in/a.png", "--quality", "0", "--stability", "0", "--nms", "1"]
    code, out, _ = perception(*arguments, "--points-per-side", "6")
    assert code == 0
    total = len(content()["annotations"])
    assert total > 40
    assert sum(line.split()[:1] == ["object"] for line in out.splitlines()) == 40
    assert f"  and {total - 40} more" in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "missing.png: no such file"),
        (["in/a.png", "--points-per-side", "400"], "160000 points are more than the 100000"),
        (["in/a.png", "--crop-layers", "30"], "crop_layers is at most 8, got 30"),
        (["in/a.png", "--max-pixels", "9"], "more than the limit of 9"),
        (["in/a.png", "--out", "in/a.png"], "can't be written"),
    ],
)
def test_errors_are_one_line(perception, arguments, message):
    code, _, err = perception("everything", *arguments, "-q")
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1


def test_settings_are_checked_before_the_models_load(perception):
    assert perception("everything", "in/a.png", "--points-per-side", "400")[0] == 1
    assert perception.loaded == []


def test_help_loads_nothing_heavy():
    import subprocess

    code = (
        "import sys; from perception.cli.commands import status; "
        "status(['everything', '--help']); print('numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(run.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"
