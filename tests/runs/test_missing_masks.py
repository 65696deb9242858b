"""Masks that a run leaves out, and makes once results show them."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import HereReader, color_model, drawing
from PIL import Image

from perception.cli.commands import status
from perception.detectors.decode import Labelling
from perception.errors import PromptError, RunError
from perception.models.load import load
from perception.report.review import write_review
from perception.runs.annotate import annotate, export_annotations, write_annotations
from perception.runs.missing_masks import make_missing
from perception.runs.read import RunReader, run_path
from perception.runs.records import Counts, MarkedContent
from perception.runs.settings import only_worker
from perception.runs.write import RunWriter
from perception.types import Candidates
from runs.test_crash import rows

TEXT = "red thing: red, sky: blue. green"
DEMOS = Path(__file__).parents[2] / "demos" / "images"


@pytest.fixture(autouse=True)
def readers_in_this_process(monkeypatch):
    monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)


@pytest.fixture
def folder(tmp_path):
    """6 images with up to 4 things of a color, which score 0.9, 0.8, 0.7 and 0.6."""
    for n in range(6):
        things = [("red", (4 + 24 * k, 8, 20 + 24 * k, 30)) for k in range(n % 5)]
        things += [("blue", (10 + 40 * k, 50, 40 + 40 * k, 80)) for k in range(2)]
        path = tmp_path / "in" / f"{n % 2}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawing(things=things)).save(path)
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.json"


class Watched:
    """A model of colors that counts what is asked of it."""

    def __init__(self, **changes):
        self.model = replace(color_model(), **changes)
        self.detected = 0
        right = self.model.detector.candidates

        def candidates(images, phrases, *, floor):
            self.detected += len(images)
            return right(images, phrases, floor=floor)

        self.model.detector.candidates = candidates

    @property
    def encoded(self):
        return self.model.segmenter.encoded

    def load(self, *_):
        return self.model


def run(folder, out, text=TEXT, **options):
    watched = Watched()
    annotate(watched.load, [str(folder)], text, out, **options)
    return watched


def at_once(folder, tmp_path, **options):
    whole = tmp_path / "whole.json"
    run(folder, whole, overwrite=True, **options)
    return whole


def made(out):
    with closing(sqlite3.connect(run_path(out))) as db:
        return db.execute("SELECT count(*) FILTER (WHERE made), count(*) FROM instance").fetchone()


def test_masks_are_made_for_what_the_threshold_shows(folder, out):
    assert run(folder, out, threshold=0.85).encoded == 6
    assert made(out) == (10, 22)  # The best red thing of 4 images, the best blue of 6.
    assert len(json.loads(out.read_bytes())["annotations"]) == 10
    assert run(folder, out, threshold=0.95, overwrite=True).encoded == 0
    assert made(out) == (0, 22)


def test_a_lower_threshold_makes_the_rest(folder, out, tmp_path):
    run(folder, out, threshold=0.85)
    told = []
    watched = Watched()
    annotate(
        watched.load,
        [str(folder)],
        TEXT,
        out,
        threshold=0.3,
        watch=lambda counts: told.append(counts) or told.extend,
    )
    assert (watched.detected, watched.encoded) == (0, 6)
    assert told[0] == Counts(waiting=6)
    whole = at_once(folder, tmp_path, threshold=0.3)
    assert out.read_bytes() == whole.read_bytes()
    assert rows(out) == rows(whole)
    again = run(folder, out, threshold=0.3)
    assert (again.detected, again.encoded) == (0, 0)
    run(folder, out, threshold=0.85)
    assert out.read_bytes() == at_once(folder, tmp_path, threshold=0.85).read_bytes()


def test_masks_from(folder, out, tmp_path):
    run(folder, out, threshold=0.85, masks_from=0.65)
    assert out.read_bytes() == at_once(folder, tmp_path, threshold=0.85).read_bytes()
    for threshold in (0.65, 0.75):
        with RunReader(run_path(out)) as reader:
            write_annotations(reader, tmp_path / "again.json", threshold=threshold)
        whole = at_once(folder, tmp_path, threshold=threshold)
        assert (tmp_path / "again.json").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("masks_from", [0.01, 0.86])
def test_masks_from_what_can_not_be(folder, out, masks_from):
    with pytest.raises(PromptError, match=r"choose a score from the floor, 0\.05, to the"):
        run(folder, out, threshold=0.85, masks_from=masks_from)
    assert not run_path(out).exists()


@pytest.mark.parametrize(("text", "encoded"), [(TEXT, 6), ("green, red thing: red, !blue", 3)])
def test_new_classes_and_a_lower_threshold_at_once(folder, out, tmp_path, text, encoded):
    run(folder, out, "red thing: red", threshold=0.85)
    watched = run(folder, out, text, threshold=0.3)
    assert watched.encoded == encoded
    whole = tmp_path / "whole.json"
    run(folder, whole, text, threshold=0.3)
    assert out.read_bytes() == whole.read_bytes()


def _one_row_each(found, weights):
    """The fake has a row for each phrase of a place: all of them as one."""
    queries, first = np.unique(found.queries, return_index=True)
    scores = [found.scores[found.queries == query].max(axis=0) * weights for query in queries]
    return Candidates(found.boxes[first], np.reshape(scores, (-1, len(weights))), queries)


def test_what_another_class_shows(pictures, out, tmp_path):
    """A place that scores little for one class and much for another is one box."""

    def both():
        model = color_model()
        right = model.detector.candidates

        def candidates(images, phrases, *, floor):
            weights = [0.2 if phrase == "red dull" else 1 for phrase in phrases.phrases]
            return [_one_row_each(one, weights) for one in right(images, phrases, floor=floor)]

        model.detector.candidates = candidates
        return model

    annotate(both, [str(pictures)], "red dull", out)
    assert made(out) == (0, 2)
    annotate(both, [str(pictures)], "red dull. red", out)
    assert made(out) == (2, 2)
    whole = tmp_path / "whole.json"
    annotate(both, [str(pictures)], "red dull. red", whole)
    assert out.read_bytes() == whole.read_bytes()


def test_results_without_their_masks_are_refused(folder, out, tmp_path):
    run(folder, out, threshold=0.85)
    line = r"out\.json\.run: 12 masks in 6 images are missing; .* --threshold 0.3 makes them, or "
    with RunReader(run_path(out)) as reader:
        for name in ("coco", "csv", "yolo", "labelme", "png"):
            with pytest.raises(RunError, match=line + r"choose --threshold 0\.81 or more"):
                export_annotations(reader, tmp_path / "export", as_format=name, threshold=0.3)
            assert not (tmp_path / "export").exists()
        with pytest.raises(RunError, match="12 masks in 6 images are missing"):
            write_review(reader, tmp_path / "page.html")
        export_annotations(reader, tmp_path / "export", as_format="coco", threshold=0.81)


def test_made_for_an_export(folder, out, tmp_path):
    run(folder, out, threshold=0.85)
    watched = Watched()
    count = make_missing(run_path(out), Labelling(0.3), watched.load)
    assert (count, watched.detected) == (12, 0)
    with RunReader(run_path(out)) as reader:
        write_annotations(reader, tmp_path / "again.json", threshold=0.3)
    whole = at_once(folder, tmp_path, threshold=0.3)
    assert (tmp_path / "again.json").read_bytes() == whole.read_bytes()
    assert rows(out) == rows(whole)
    assert make_missing(run_path(out), Labelling(0.3), lambda *_: pytest.fail("loaded")) == 0


def test_images_that_are_elsewhere_now(folder, out, tmp_path):
    run(folder, out, threshold=0.85)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved, copy_function=shutil.copyfile)
    shutil.rmtree(folder)
    make_missing(run_path(out), Labelling(0.3), Watched().load, images=moved)
    shutil.copytree(moved, folder)  # Their files are others to annotate, their content isn't.
    again = run(folder, out, threshold=0.3)
    assert (again.detected, again.encoded) == (0, 0)


def refused(out, labelling=None, load=color_model):
    """The line that says why masks can't be made, after which the run is as before."""
    before = rows(out)
    with pytest.raises(RunError) as caught:
        make_missing(run_path(out), labelling or Labelling(0.3), lambda *_: load())
    assert [row[0] for row in rows(out)[0]] == [row[0] for row in before[0]]
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("out.json.run: 12 masks in 6 images are missing and can't")
    assert str(caught.value).endswith("choose --threshold 0.81 or more, which shows none of them")
    return str(caught.value)


def test_images_that_are_gone(folder, out):
    run(folder, out, threshold=0.85)
    (folder / "0" / "4.png").unlink()
    line = refused(out, load=lambda: pytest.fail("loaded"))
    assert "0/4.png: no such file in " in line
    assert made(out) == (10, 22)
    with RunReader(run_path(out)) as reader:
        assert reader.counts() == Counts(done=6)


@pytest.mark.parametrize("what", [b"\x89PNG", "another", "gone while it works"])
def test_images_that_are_others_now(folder, out, what, monkeypatch):
    run(folder, out, threshold=0.85)
    path = folder / "0" / "4.png"
    if what == "another":
        Image.fromarray(drawing()).save(path)
    elif isinstance(what, bytes):
        path.write_bytes(what)
    else:
        monkeypatch.setattr("perception.runs.missing_masks.os.path.exists", lambda _: True)
        path.unlink()
    line = refused(out)
    reasons = {"another": "the image is another now", b"\x89PNG": "not an image"}
    assert f"0/4.png: {reasons.get(what, 'no such file')}" in line
    with RunReader(run_path(out)) as reader:
        assert reader.counts() == Counts(done=6)
        write_annotations(reader, out, threshold=0.85)
    with pytest.raises(RunError, match=r"4 masks in 1 image are missing"):
        make_missing(run_path(out), Labelling(0.3), lambda *_: color_model())


def test_a_model_that_is_gone_or_another(folder, out):
    run(folder, out, threshold=0.85)
    other = replace(color_model(), weights={"fake.onnx": "1" * 64})
    line = refused(out, load=lambda: other)
    assert "the model isn't the one that found their boxes (weights fake.onnx 0000" in line
    assert made(out) == (10, 22)
    with pytest.raises(RunError, match=r"12 masks in 6 images are missing.*color"):
        make_missing(run_path(out), Labelling(0.3), lambda name, *_: load(name))


def test_a_run_that_is_at_work(folder, out):
    run(folder, out, threshold=0.85)
    with only_worker(run_path(out)):
        assert "another process works on this run" in refused(out)


def test_marked_images_need_no_masks(folder, out):
    run(folder, out, threshold=0.85)
    with RunWriter(run_path(out)) as writer:
        for image in list(writer.pictures()):
            content = MarkedContent(image.uid, image.image_hw, image.file)
            assert writer.mark(image.picture, [], content, revision=0) == 1
    assert make_missing(run_path(out), Labelling(0.3), lambda *_: pytest.fail("loaded")) == 0


NANO = "red star. heart | circle, dog. vehicle: car | bus. fir tree, !cat"
SHOWN = [Labelling(0.1), Labelling(0.06, 0.8), Labelling(0.1, all_labels=True)]


@pytest.mark.parametrize("labelling", SHOWN, ids=["threshold", "nms", "labels"])
def test_nano_makes_the_same_later(out, tmp_path, labelling):
    """To the last bit: bytes of the file, and quality, stability and consensus in the run."""
    from perception.runs.results import iter_results

    model = load("nano", threads=1)
    annotate(lambda: model, [str(DEMOS)], NANO, out, threshold=0.5)
    few = made(out)[0]
    assert make_missing(run_path(out), labelling, lambda *_: model)
    whole = tmp_path / "whole.json"
    floor = {"threshold": 0.05, "masks_from": 0.05}
    annotate(lambda: model, [str(DEMOS)], NANO, whole, **floor)
    make_missing(run_path(whole), labelling, lambda *_: model)
    assert few < made(out)[0] <= made(whole)[0]
    found = []
    for path in (out, whole):
        with RunReader(run_path(path)) as reader:
            options = {"nms": labelling.same_class_iou, "all_labels": labelling.all_labels}
            results = iter_results(reader, threshold=labelling.threshold, **options)
            found.append(list(results))
    for late, early in zip(*found, strict=True):
        assert late.instances.rles == early.instances.rles
        for name in ("scores", "quality", "stability", "class_ids"):
            ours, theirs = getattr(late.instances, name), getattr(early.instances, name)
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(late.consensus, early.consensus)


def test_the_commands_make_them(tmp_path, monkeypatch, capsys):
    """With the embedded model, which they find by the name that the run has."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(DEMOS, tmp_path / "in")
    words = ["annotate", "in", "--text", NANO, "-q", "--threads", "1"]
    assert status([*words, "--out", "out.json", "--threshold", "0.6"]) == 0
    assert status([*words, "--out", "whole.json", "--threshold", "0.1"]) == 0
    assert status([*words, "--out", "lazy.json", "--threshold", "0.6", "--masks-from", "0.1"]) == 0
    shutil.copy("out.json.run", "kept.json.run")
    export = ["export-annotations", "--threshold", "0.1", "--out"]
    for name in ("out", "lazy"):
        assert status([*export, f"{name}.export.json", f"{name}.json"]) == 0
        assert Path(f"{name}.export.json").read_bytes() == Path("whole.json").read_bytes()
    said = capsys.readouterr().err
    assert said.count("note: making ") == 1  # Of the one that hadn't made them.
    assert status(["review", "out.json", "-q"]) == 0
    shutil.copy("kept.json.run", "out.json.run")
    (tmp_path / "in").rename("elsewhere")
    capsys.readouterr()
    for command in (
        [*export, "gone.json", "out.json"],
        ["review", "out.json", "--images", "elsewhere/none", "--out", "gone.html"],
        ["evaluate", "coco", "whole.json", "out.json"],
    ):
        assert status(command) == 1
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert "are missing and can't be made: " in err
    assert not list(tmp_path.glob("gone*"))
    images = ["--images", "elsewhere"]
    assert status([*export, "moved.json", "out.json", *images, "-q"]) == 0
    assert Path("moved.json").read_bytes() == Path("whole.json").read_bytes()
    shutil.copy("kept.json.run", "out.json.run")
    for least in ([], ["--scores-from", "0.6"]):
        words = ["review", "out.json", *images, "--threshold", "0.6", "-q", *least]
        needed = [] if least else ["evaluate", "coco", "whole.json", "out.json", *images, "-q"]
        assert status(words) == 0
        assert not needed or status(needed) == 0


def start(folder, out, threshold, seconds):
    script = Path(__file__).parent / "process.py"
    command = [sys.executable, str(script), str(folder), str(out), str(seconds), str(threshold)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_while_masks_are_made(folder, out, tmp_path):
    for n in range(3):  # 18 images
        shutil.copytree(folder, folder / f"more{n}", ignore=shutil.ignore_patterns("more*"))
    run(folder, out, threshold=0.85)
    whole = at_once(folder, tmp_path, threshold=0.3)
    before = made(out)[0]
    for answers in (1, 5):
        process = start(folder, out, 0.3, 0.2)
        for _ in range(answers):
            assert process.stdout.readline() == b"encoded\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with RunReader(run_path(out)) as reader:  # What was there before is still there.
            assert reader.counts() == Counts(done=24)
            write_annotations(reader, out, threshold=0.85)
    assert out.read_bytes() == at_once(folder, tmp_path, threshold=0.85).read_bytes()
    assert before < made(out)[0] < made(out)[1]
    left = len([row for row in rows(out)[0] if row[4] == 0])
    assert left
    process = start(folder, out, 0.3, 0)
    said, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    assert b"asked" not in said
    whole = at_once(folder, tmp_path, threshold=0.3)
    assert out.read_bytes() == whole.read_bytes()
    assert rows(out) == rows(whole)
