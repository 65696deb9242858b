"""The commands of annotation runs."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
from fakes import HereReader
from PIL import Image

from perception.errors import RunError
from perception.runs import image_reader as reading
from perception.runs import local_engine as runner


@pytest.fixture(autouse=True)
def readers_in_this_process(monkeypatch):
    monkeypatch.setattr(runner, "Reader", HereReader)


def content(path="out.json"):
    return json.loads(Path(path).read_text("utf-8"))


def test_a_folder(perception, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = perception("annotate", "in", "--text", "red. sky: blue", "--out", "out.json")
    assert code == 0
    assert out == "wrote out.json: 2 images, 3 annotations of 2 classes\n"
    assert "drawn things" in err
    assert "3 instances, 0 failed" in err
    assert "2/2" in err
    assert [image["file_name"] for image in content()["images"]] == ["a.png", "sub/a.png"]
    assert perception("segment", "in", "--text", "red. sky: blue", "--json", "x.json", "-q")[0] == 0
    assert Path("x.json").read_bytes() == Path("out.json").read_bytes()


def test_a_path_that_is_missing_is_noticed_before_the_model_loads(perception):
    ask = ("--text", "red", "--out", "out.json")
    code, _, err = perception("annotate", "gone.png", *ask, "-q")
    assert (code, perception.loaded) == (1, [])
    assert err == "perception: error: gone.png: no such file or folder; check the path\n"
    code, _, err = perception("annotate", "gone.png", "in", *ask)
    assert code == 1
    assert "note: gone.png: no such file or folder" in err.splitlines()
    assert "2/2" not in err  # Nobody looks at a bar.
    assert len(content()["images"]) == 3 - 1


def test_classes_from_a_file(perception):
    Path("classes.txt").write_text("red\nU.S. car: blue\n")
    arguments = ["annotate", "in", "--classes", "classes.txt", "--out", "deep/er/out.json", "-q"]
    assert perception(*arguments)[::2] == (0, "")
    names = [category["name"] for category in content("deep/er/out.json")["categories"]]
    assert names == ["red", "U.S. car: blue"]


def test_again(perception, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    arguments = ["annotate", "in", "--text", "red", "--out", "out.json"]
    perception(*arguments)
    before = Path("out.json").read_bytes()
    code, _, err = perception(*arguments)
    assert code == 0
    assert "2/2" in err
    assert "0 instances" not in err
    assert Path("out.json").read_bytes() == before


def test_typing_every_default_changes_nothing(perception):
    arguments = ["annotate", "in", "--text", "red", "--out", "out.json", "-q"]
    assert perception(*arguments)[0] == 0
    before = Path("out.json").read_bytes()
    defaults = "--model nano --device auto --precision auto --threshold 0.3 --batch 4 --workers 2 "
    defaults += "--threads 0 --parallel 0 --max-pixels 200000000 --floor 0.05 --floor-nms 0.9"
    assert perception(*arguments, *defaults.split())[0] == 0
    assert Path("out.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        (["--threads", "8"], 2),
        (["--threads", "8", "--parallel", "8"], 1),
        (["--threads", "3", "--parallel", "1"], 3),
        (["--threads", "1"], 1),
    ],
)
def test_threads_are_shared(perception, arguments, threads):
    perception("annotate", "in", "--text", "red", "--out", "out.json", "-q", *arguments)
    assert perception.loaded == [("nano", threads)]


def test_a_cluster_is_told_where_to_compute(perception, monkeypatch):
    made = []

    def engine(load, **given):
        made.append(given)
        load()
        raise RunError("enough")

    monkeypatch.setattr("perception.runs.ray_engine.RayEngine", engine)
    options = ["--engine", "ray", "--device", "cuda:1", "--precision", "fp16", "-q"]
    assert perception("annotate", "in", "--text", "red", "--out", "x.json", *options)[0] == 1
    assert made[0]["gpus"] == 1
    assert perception.places == [("cuda", "fp16")]
    assert perception("annotate", "in", "--text", "red", "--out", "x.json", *options[:2])[0] == 1
    assert made[1]["gpus"] == 0
    assert perception.places[1] == ("auto", "auto")


def test_failures_are_told_by_reason(perception):
    for n in range(3):
        Path(f"in/empty{n}.png").touch()
    Path("list.txt").write_text("in/a.png\nin/gone.png\nin/empty0.png\nin/empty1.png\n")
    code, out, err = perception("annotate", "list.txt", "--text", "red", "--out", "out.json", "-q")
    assert code == 1
    assert out == "wrote out.json: 1 image, 1 annotation of 1 class\n"
    assert err.splitlines() == [
        "3 images failed (--retry-failed tries again):",
        "  in/empty0.png and 1 more: the file is empty (0 bytes); copy or download it again",
        "  in/gone.png: no such file; check the path",
    ]
    Image.open("in/a.png").save("in/gone.png")
    Image.open("in/a.png").save("in/empty0.png")
    arguments = ["--text", "red", "--out", "out.json", "-q", "--retry-failed"]
    code, out, _ = perception("annotate", "list.txt", *arguments)
    assert (code, out) == (1, "wrote out.json: 3 images, 3 annotations of 1 class\n")


def test_an_interrupt_says_how_to_go_on(perception, monkeypatch):
    def read(task, *, max_pixels):
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "read", read)
    code, _, err = perception("annotate", "in", "--text", "red", "--out", "out.json", "-q")
    assert code == 130
    assert "interrupted; 0 of 2 images are done and kept; the same command goes on" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "auto"], "--address is for --engine ray"),
        (["--engine", "ray", "--threads", "2"], "are for --engine local; ray has --workers"),
        (["--engine", "ray", "--parallel", "2"], "are for --engine local; ray has --workers"),
        (["--engine", "spark"], "'spark' is not one of 'local', 'ray'"),
    ],
)
def test_engines_have_options_of_their_own(perception, arguments, message):
    code, _, err = perception("annotate", "in", "--text", "red", "--out", "out.json", *arguments)
    assert code == 2
    assert message in err
    assert not Path("out.json.run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "--text", ""], "prompt is empty"),
        (["in", "--classes", "gone.txt"], "gone.txt: the classes can't be read"),
        (["void", "--text", "red"], "void: no such file or folder"),
        (["in/*.gif", "--text", "red"], "no image matches"),
        (["in", "--text", "red", "--out", "in"], "in: a folder"),
        (["in", "--text", "red", "--out", "in/a.png"], "is of no run"),
        (["in", "--text", "red", "--out", "in/a.png/x"], "can't be written"),
        (["in", "--text", "red", "--threshold", "0.01"], "stores scores from 0.05"),
        (["in", "--text", "red", "--floor-nms", "0.1"], "lies between 0.5"),
        (["in/a.png.json", "--text", "red"], "in/a.png.json: no such file or folder"),
    ],
)
def test_errors_are_one_line(perception, arguments, message):
    arguments = arguments if "--out" in arguments else [*arguments, "--out", "out.json"]
    code, _, err = perception("annotate", *arguments, "-q")
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path("out.json.run").exists()


def test_what_can_be_wrong_is_said_before_the_model_loads(perception):
    Path("void").mkdir()
    code, _, err = perception("annotate", "void", "--text", "red", "--out", "out.json", "-q")
    assert (code, perception.loaded) == (1, [])
    assert "no image in this folder" in err


@pytest.mark.parametrize("arguments", [[], ["--text", "red", "--classes", "c.txt"]])
def test_what_to_find_is_said_once(perception, arguments):
    code, _, err = perception("annotate", "in", "--out", "out.json", *arguments)
    assert code == 2
    assert "either --text or --classes" in err


@pytest.fixture
def done(perception):
    perception("annotate", "in", "--text", "red. sky: blue", "--out", "out.json", "-q")
    perception.loaded.clear()
    return perception


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def test_export_needs_no_model(done):
    for name in ("out.json", "out.json.run"):
        code, out, _ = done("export-annotations", name, "--out", "again.json")
        assert (code, out) == (0, "wrote again.json: 2 images, 3 instances\n")
        assert Path("again.json").read_bytes() == Path("out.json").read_bytes()
    assert done.loaded == []


def test_export_at_another_threshold_and_nms(done):
    assert done("export-annotations", "out.json", "--out", "x.json", "--threshold", "0.95")[0] == 0
    assert content("x.json")["annotations"] == []
    assert content("x.json")["images"][0]["neg_category_ids"] == [1, 2]
    assert done("export-annotations", "out.json", "--out", "x.json", "--nms", "0.9")[0] == 0
    assert content("x.json")["info"]["nms"] == 0.9


def test_export_in_other_formats(done):
    names = {
        "yolo": [
            *("data.yaml", "images/a.png", "images/sub/a.png", "labels/a.txt", "labels/sub/a.txt")
        ],
        "labelme": ["a.json", "sub/a.json"],
        "png": ["a.png.png", "classes.txt", "sub/a.png.png"],
    }
    for name, written in names.items():
        arguments = ["--format", name, "--out", f"x/{name}"]
        assert done("export-annotations", "out.json", *arguments)[0] == 0
        assert files(f"x/{name}") == written
    assert done("export-annotations", "out.json", "--format", "csv", "--out", "x/t.csv")[0] == 0
    with Path("x/t.csv").open(newline="", encoding="utf-8") as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["red", "sky", "red"]
    shapes = content("x/labelme/sub/a.json")
    assert os.path.samefile(Path("x/labelme/sub", shapes["imagePath"]), "in/sub/a.png")


def test_export_with_polygons(done):
    assert done("export-annotations", "out.json", "--out", "x.json", "--polygons")[0] == 0
    assert content("x.json")["annotations"][0]["segmentation"] == [[8, 8, 40, 8, 40, 40, 8, 40]]
    code = done("export-annotations", "out.json", "--out", "x", "--polygons", "--format", "png")[0]
    assert code == 2


def test_export_with_fewer_corners_and_copies(done):
    arguments = ["--polygons", "--simplify", "2"]
    assert done("export-annotations", "out.json", "--out", "x.json", *arguments)[0] == 0
    assert content("x.json")["annotations"][0]["segmentation"] == [[8, 8, 40, 8, 40, 40, 8, 40]]
    assert done("verify", "x.json", "--images", "in")[0] == 0
    yolo = ["--format", "yolo", "--out", "y"]
    assert done("export-annotations", "out.json", *yolo)[0] == 0
    assert Path("y/images/a.png").is_symlink()
    assert done("export-annotations", "out.json", *yolo, "--copy-images")[0] == 0
    assert not Path("y/images/a.png").is_symlink()
    assert Path("y/images/sub/a.png").read_bytes() == Path("in/sub/a.png").read_bytes()
    Path("in/a.png").unlink()
    with pytest.warns(RuntimeWarning, match="1 image is no longer in"):  # To users a note.
        assert done("export-annotations", "out.json", "--format", "yolo", "--out", "z")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--simplify", "1"],
        ["--simplify", "1", "--format", "yolo"],
        ["--simplify", "1", "--format", "csv"],
        ["--simplify", "-1", "--polygons"],
        ["--copy-images"],
    ],
)
def test_export_options_that_do_not_go_together(done, arguments):
    assert done("export-annotations", "out.json", "--out", "x", *arguments)[0] == 2


def test_export_of_a_run_that_is_not_done(done):
    Image.open("in/a.png").save("in/b.png")
    from perception.runs.write import RunWriter

    with RunWriter(Path("out.json.run")) as run:
        run._db.execute("UPDATE picture SET state = 'waiting' WHERE id = 1")
    code, out, err = done("export-annotations", "out.json", "--out", "x.json")
    assert (code, out) == (0, "wrote x.json: 1 image, 1 instance\n")
    assert "1 image of this run still to be done" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.json", "--out", "x.json"], "gone.json: no such run"),
        (["in/a.png", "--out", "x.json"], "in/a.png: no run database"),
        (["out.json", "--out", "in"], "in: a folder"),
        (["out.json", "--out", "x.json", "--threshold", "0.01"], "from 0.05 to 1"),
        (["out.json", "--out", "x.json", "--nms", "0.95"], "overlap up to 0.9"),
        (["out.json", "--out", "in/a.png", "--format", "yolo"], "can't be written"),
    ],
)
def test_export_errors_are_one_line(done, arguments, message):
    code, _, err = done("export-annotations", *arguments)
    assert code == 1
    assert message in err
    assert len(err.splitlines()) == 1
