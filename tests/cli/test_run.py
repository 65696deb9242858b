"""Whole runs of the command line."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from perception.cli import run as cli_run


def content(path="perception-out/coco.json"):
    return json.loads(Path(path).read_text("utf-8"))


def files(folder="perception-out"):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def test_text_to_masks(perception):
    code, out, err = perception("segment", "in/a.png", "--text", "red thing. sky: blue")
    assert code == 0
    assert files() == ["a.png.overlay.png", "coco.json"]
    lines = [line.split() for line in out.splitlines()]
    assert ["label", "score", "quality", "box", "x0,y0,x1,y1", "area"] in lines
    assert ["red", "thing", "0.90", "0.95", "8,8,40,40", "1024"] in lines
    assert ["sky", "0.90", "0.95", "64,32,112,80", "2304"] in lines
    for stage in ("loaded in", "read", "detect", "encode", "decode", "write"):
        assert stage in out
    assert "perception-out/coco.json" in out
    assert len(err.splitlines()) == 1
    assert "nano" in err
    assert "drawn things" in err
    (first, second) = content()["annotations"]
    assert (first["area"], second["bbox"]) == (1024, [64, 32, 48, 48])


def test_after_the_models(perception):
    image = Image.open("in/a.png")
    image.paste((220, 20, 20), (70, 40, 90, 60))
    image.save("in/nested.png")
    ask = ("segment", "in/nested.png", "--text", "red. blue", "-q", "--json", "-")
    areas = [row["area"] for row in json.loads(perception(*ask)[1])["annotations"]]
    apart = json.loads(perception(*ask, "--disjoint")[1])
    assert apart["info"]["disjoint"] is True
    assert sum(row["area"] for row in apart["annotations"]) == sum(areas) - 20 * 20
    whole, part = apart["annotations"][1:]
    assert part["parent_id"] == whole["id"]
    assert perception(*ask, "--drop-nested")[0] == 0


@pytest.mark.parametrize(
    "tile", [("--tile", "64"), ("--tile=64",), ("--tile", "auto"), ("--tile",)]
)
@pytest.mark.parametrize("command", ["segment", "detect"])
def test_tiles(perception, command, tile):
    code, out, _ = perception(command, "in", "--text", "red", "--json", "-", "-q", *tile)
    assert code == 0
    content = json.loads(out)
    assert content["info"]["tile"] == (64 if "64" in tile[-1] else 1024)
    assert [row["bbox"] for row in content["annotations"]] == [[8, 8, 32, 32], [60, 20, 40, 30]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--text", "red", "--tile", "in/a.png"), "before an image write --tile auto"),
        (("--text", "red", "--tile", "8"), "at least 32 pixels"),
        (("--point", "5,5", "--tile"), "for --text"),
        (("--box", "5,5,9,9", "--disjoint"), "for --text"),
        (("--box", "5,5,9,9", "--drop-nested"), "for --text"),
    ],
)
def test_tiles_that_can_not_be(perception, arguments, says):
    code, _, err = perception("segment", "in/a.png", *arguments)
    assert code in (1, 2)
    assert says in err
    assert len(err.splitlines()) == 1


def test_quiet(perception):
    assert perception("segment", "in", "--text", "red. dog", "-q") == (0, "", "")
    assert perception("detect", "in/a.png", "--text", "red", "-q") == (0, "", "")
    assert len(content()["annotations"]) == 1
    assert perception("segment", "missing.png", "--text", "red", "-q")[2] != ""


def test_progress_is_for_terminals_alone(perception):
    assert "2/2" not in perception("segment", "in", "--text", "red")[2]


def test_a_path_that_is_missing_is_noticed_before_the_models_load(perception):
    code, _, err = perception("segment", "missing.png", "gone", "--text", "red")
    assert (code, perception.loaded) == (1, [])
    assert err == (
        "perception: error: missing.png: no such file or folder, nor are the 1 others; "
        "check the path\n"
    )
    # Beside others it is said at once, and they are done.
    code, _, err = perception("segment", "missing.png", "in", "--text", "red")
    assert code == 1
    assert err.splitlines()[0] == "note: missing.png: no such file or folder"
    assert "skipped 1 of 3 images" in err
    assert len(content()["images"]) == 2


@pytest.mark.parametrize("command", ["segment", "detect", "everything"])
def test_urls_are_answered_with_what_to_do(perception, command):
    words = () if command == "everything" else ("--text", "red")
    code, _, err = perception(command, "https://example.org/a.jpg", *words)
    assert (code, perception.loaded) == (1, [])
    assert len(err.splitlines()) == 1
    assert "download it first, or pipe it in: curl -L URL | perception segment -" in err
    err = perception(command, "file:///tmp/a.jpg", *words)[2]
    assert "write the path alone" in err


def piped(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("command", ["segment", "detect", "everything"])
def test_a_picture_through_standard_input(perception, monkeypatch, command):
    words = ("--points-per-side", "4") if command == "everything" else ("--text", "red")
    assert perception(command, "in/a.png", *words)[0] == 0
    expected = content()["annotations"]
    piped(monkeypatch, Path("in/a.png").read_bytes())
    code, out, _ = perception(command, "-", *words)
    assert code == 0
    assert "stdin (128 x 96)" in out
    assert "stdin.overlay.png" in files()
    assert content()["images"][0]["file_name"] == "stdin"
    made = content()["annotations"]
    assert [row["segmentation"] for row in made] == [row["segmentation"] for row in expected]


def test_standard_input_beside_others(perception, monkeypatch):
    piped(monkeypatch, Path("in/a.png").read_bytes())
    shutil.copy("in/a.png", "stdin")
    assert perception("segment", "stdin", "-", "in", "--text", "red")[0] == 0
    names = [image["file_name"] for image in content()["images"]]
    assert names == ["_stdin", "in/a.png", "in/sub/a.png", "stdin"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "standard input: nothing came"),
        (b"<html>", "standard input: not an image"),
        (b"x" * 2000, "standard input: more than 0 MB"),
    ],
)
def test_standard_input_that_is_no_picture(perception, monkeypatch, given, message):
    piped(monkeypatch, given)
    monkeypatch.setattr(cli_run, "_MOST_PIPED", 1000)
    code, _, err = perception("segment", "-", "--text", "red", "-q")
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_terminal_is_no_picture(perception, monkeypatch):
    piped(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    code, _, err = perception("segment", "-", "--text", "red")
    assert (code, perception.loaded) == (1, [])
    assert "pipe one in, such as perception segment - --text cat < photo.jpg" in err


def test_a_folder_shows_its_progress(perception, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = perception("segment", "in", "--text", "red", "--save", "overlay,masks,cutouts")
    assert code == 0
    assert "2/2" in err
    assert files() == [
        "a.png.cutout-001-red.png",
        "a.png.mask-001-red.png",
        "a.png.overlay.png",
        "coco.json",
        "sub/a.png.cutout-001-red.png",
        "sub/a.png.mask-001-red.png",
        "sub/a.png.overlay.png",
    ]
    assert all(name in out for name in files())
    assert [image["file_name"] for image in content()["images"]] == ["a.png", "sub/a.png"]
    assert "2/2" not in perception("segment", "in", "--text", "red", "-q")[2]


def test_json_alone_on_standard_output(perception):
    code, out, _ = perception("segment", "in", "--text", "red", "--json", "-")
    assert code == 0
    assert len(json.loads(out)["annotations"]) == 2
    assert not Path("perception-out").exists()


def test_json_on_standard_output_and_pictures(perception):
    code, out, _ = perception("segment", "in/a.png", "--text", "red", "--json", "-", "--out", "x")
    assert code == 0
    assert json.loads(out)
    assert files("x") == ["a.png.overlay.png"]


def test_json_file(perception):
    assert perception("segment", "in/a.png", "--text", "red", "--json", "deep/er/y.json")[0] == 0
    assert content("deep/er/y.json")["images"]
    assert files() == ["a.png.overlay.png"]


def test_polygons_with_few_corners(perception):
    ask = ("segment", "in/a.png", "--text", "red", "-q", "--json", "-")
    (row,) = json.loads(perception(*ask, "--polygons", "--simplify", "1")[1])["annotations"]
    assert row["segmentation"] == [[8, 8, 40, 8, 40, 40, 8, 40]]
    assert (row["area"], row["bbox"]) == (1024, [8, 8, 32, 32])
    assert isinstance(json.loads(perception(*ask)[1])["annotations"][0]["segmentation"], dict)
    code, _, err = perception(*ask, "--simplify", "1")
    assert code == 2
    assert "--simplify is for --polygons" in err


def test_detect(perception):
    code, out, _ = perception("detect", "in/a.png", "--text", "red")
    assert code == 0
    assert ["red", "0.90", "-", "8,8,40,40", "1024"] in [line.split() for line in out.splitlines()]
    (annotation,) = content()["annotations"]
    assert annotation["segmentation"] == []
    assert "segmenter" not in content()["info"]


def test_points_and_candidates(perception):
    code, out, _ = perception("segment", "in/a.png", "--point", "20,20", "--candidates")
    assert code == 0
    assert [a["quality"] for a in content()["annotations"]] == [0.9, 0.7, 0.5]
    assert out.count("object") == 3
    assert perception("segment", "in/a.png", "--point", "20,20")[0] == 0
    assert [a["quality"] for a in content()["annotations"]] == [0.9]


def test_boxes_and_negative_points(perception):
    assert perception("segment", "in/a.png", "--box", "0,0,50,50", "--box", "60,20,120,90")[0] == 0
    assert len(content()["annotations"]) == 2
    code = perception("segment", "in/a.png", "--box", "0,0,50,50", "--point", "20,20,0")[0]
    assert code == 0
    assert content()["info"]["prompt"]["point_labels"] == [0]


def test_typing_every_default_changes_nothing(perception):
    assert perception("segment", "in", "--text", "red")[0] == 0
    before = Path("perception-out/coco.json").read_bytes()
    arguments = "--threshold 0.3 --out perception-out --json perception-out/coco.json "
    arguments += "--save overlay --model nano --device auto --precision auto --threads 0 "
    arguments += "--max-pixels 200000000"
    for command in ("segment", "detect"):
        assert perception(command, "in", "--text", "red", *arguments.split())[0] == 0
        assert perception.loaded[-1] == ("nano", 0)
        if command == "segment":
            assert Path("perception-out/coco.json").read_bytes() == before


def test_running_again_on_everything_is_fine(perception):
    for _ in range(2):
        assert perception("segment", ".", "--text", "red")[0] == 0
        assert [image["file_name"] for image in content()["images"]] == ["in/a.png", "in/sub/a.png"]


def test_results_can_go_beside_the_pictures(perception):
    arguments = ["segment", "in", "--text", "red", "--save", "overlay,masks,cutouts", "--out", "in"]
    for _ in range(2):
        assert perception(*arguments)[0] == 0
        assert [image["file_name"] for image in content("in/coco.json")["images"]] == [
            "a.png",
            "sub/a.png",
        ]


def test_bad_pictures_do_not_stop_the_others(perception):
    Path("in/cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    Path("in/empty.png").touch()
    Image.new("L", (1, 1), 255).save("in/one.png")
    code, _, err = perception("segment", "in", "missing.png", "--text", "red", "-q")
    assert code == 1
    assert "skipped 3 of 6 images" in err
    for name, why in [("cut.jpg", "damaged"), ("empty.png", "0 bytes"), ("missing.png", "no such")]:
        assert any(name in line and why in line for line in err.splitlines())
    assert len(content()["images"]) == 3


def test_a_point_may_lie_in_some_pictures_only(perception):
    Image.new("RGB", (30, 30), "white").save("in/small.png")
    code, _, err = perception("segment", "in", "--point", "70,40", "-q")
    assert code == 1
    assert "skipped 1 of 3" in err
    assert "small.png: point 70,40 is outside" in err
    assert len(content()["images"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png", "--text", "red"], "missing.png: no such file"),
        (["in/a.png", "--text", ""], "prompt is empty"),
        (["in/a.png", "--text", "!red"], "only negatives"),
        (["in/a.png", "--text", "a: b: c"], "more than one"),
        (["in/a.png", "--point", "500,2"], "in/a.png: point 500,2 is outside the image"),
        (["in/a.png", "--box", "500,2,600,9"], "in/a.png: box 500,2,600,9 is outside"),
        (["in/a.png", "--box", "9,2,3,9"], "box 9,2,3,9 is empty"),
        (["nothing*.png", "--text", "red"], "no image matches"),
        (["in/a.png", "--text", "red", "--out", "in/a.png"], "can't be written"),
        (["in/a.png", "--text", "red", "--json", "in"], "in: a folder"),
        (["in/a.png", "--text", "red", "--max-pixels", "9"], "more than the limit of 9"),
    ],
)
def test_errors_are_one_line(perception, arguments, message):
    code, _, err = perception("segment", *arguments, "-q")
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [", ".join(f"thing {n}" for n in range(500)), "🍕. ❤️", "猫。红色的星", "wxyzzy frobnicator"],
)
def test_prompts_that_find_nothing(perception, text):
    code, out, _ = perception("segment", "in/a.png", "--text", text)
    assert code == 0
    assert "nothing found" in out
    assert len(content()["images"][0]["neg_category_ids"]) == len(content()["categories"])


def test_nothing_found_says_why_and_what_to_try(perception):
    code, out, err = perception("segment", "in/a.png", "--text", "red", "--threshold", "0.95")
    assert code == 0
    assert "nothing found (best: red 0.89)" in out
    said = err.splitlines()[1:]
    assert said == [
        "note: nothing found: best scores below the threshold of 0.95: red 0.89",
        "note: try --threshold 0.89",
    ]
    assert perception("segment", "in/a.png", "--text", "red", "--threshold", "0.89")[0] == 0
    assert len(content()["annotations"]) == 1


@pytest.mark.parametrize("command", ["segment", "detect"])
def test_why_nothing_was_found_stands_in_printed_json(perception, command):
    ask = (command, "in", "--text", "where is the dog?", "--json", "-")
    code, out, err = perception(*ask)
    assert code == 0
    assert json.loads(out)["info"]["not_found"]["classes"][0]["names"] == "dog"
    assert err.count("reads as a question") == 1  # once for all images
    assert (
        "not_found"
        not in json.loads(perception(command, "in", "--text", "red", *ask[4:])[1])["info"]
    )
    assert perception(*ask, "-q")[2] == ""


def test_a_class_that_some_picture_has_is_not_missed(perception):
    _, _, err = perception("segment", "in", "--text", "blue. green")
    assert "note: not found: no box scores 0.05 for green" in err
    assert "blue" not in err.replace("blue. green", "")


def test_wide_letters_keep_the_table_straight(perception):
    out = perception("segment", "in/a.png", "--text", "猫: red. sky: blue")[1]
    cat, sky = (line for line in out.splitlines() if "0.90" in line)
    assert cat.index("0.90") + 1 == sky.index("0.90")


@pytest.mark.parametrize("arguments", [["--out", "done"], ["--json", "done/x.json"]])
def test_outputs_are_checked_before_the_models_load(perception, arguments):
    Path("done").touch()
    assert perception("segment", "in/a.png", "--text", "red", *arguments)[0] == 1
    assert perception.loaded == []


def test_file_names_that_are_no_text(perception):
    try:
        os.rename("in/a.png", b"in/\xff.png")
    except OSError:
        pytest.skip("this file system takes only text")
    assert perception("segment", "in", "--text", "red", "-q")[0] == 0
    assert "\udcff.png" in [image["file_name"] for image in content()["images"]]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("command", ["segment", "detect"])
def test_a_pipe_in_the_folder_is_not_waited_for(perception, command):
    os.mkfifo("in/a.jpg")
    code, out, err = perception(command, "in", "--text", "red", "--json", "-", "-q")
    assert code == 1
    assert "in/a.jpg: a named pipe, not a regular file; give an image file" in err
    assert "skipped 1 of 3" in err
    assert len(json.loads(out)["images"]) == 2
