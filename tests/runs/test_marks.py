"""Marks: they take the place of what a model found, and nothing but a hand changes them."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from fakes import drawing
from PIL import Image
from pycocotools.coco import COCO

from perception.coco.lint.faults import Findings
from perception.coco.lint.lint import check_files, lint
from perception.coco.lint.read import read_coco
from perception.errors import RunError
from perception.evaluate.ground_truth import read_truth
from perception.evaluate.predictions import read_answers
from perception.instances import Instances
from perception.ops.masks import mask_to_rle
from perception.report.review import write_review
from perception.runs.annotate import FORMATS, export_annotations, write_annotations
from perception.runs.read import RunReader
from perception.runs.records import Mark, MarkedContent, instances_to_marks, marks_to_instances
from perception.runs.results import result_of, results
from perception.runs.write import RunWriter
from perception.types import Rle

HW = (96, 128)
CONTENT = MarkedContent("c" * 16, HW, None)
TEXT = "red. sky: blue, green"


def box_rle(x0, y0, x1, y1):
    mask = np.zeros(HW, np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask_to_rle(mask)


HAND = Mark("a" * 32, "red", "hand", box_rle(10, 10, 30, 30), quality=0.75)
MODEL = Mark("b" * 32, "green", "model", box_rle(40, 10, 60, 30), 0.1234567, 0.5, 0.25)
FIXED = Mark("d" * 32, "red", "corrected", box_rle(70, 10, 90, 30), 0.9)


def mark(drive, name, *marks, revision=0):
    with RunWriter(drive.path) as run:
        return run.mark(run.find(name).picture, marks, CONTENT, revision=revision)


def marks_of(drive, name):
    with RunReader(drive.path) as run:
        return run.marks(run.find(name).picture)


def found(drive, **options):
    with RunReader(drive.path) as run:
        return {one.file_name: one for one in results(run, **options)}


def coco(drive):
    out = drive.path.with_name("out.json")
    with RunReader(drive.path) as run:
        write_annotations(run, out)
    return json.loads(out.read_text())


def test_stored_as_they_came(drive):
    drive(TEXT)
    assert mark(drive, "b.png", HAND, MODEL, FIXED) == 1
    assert marks_of(drive, "b.png") == (HAND, MODEL, FIXED)
    assert marks_of(drive, "a.png") == ()
    with RunReader(drive.path) as run:
        assert [(one.name, one.revision, one.marks) for one in run.listed()] == [
            ("a.png", 0, 0),
            ("b.png", 1, 3),
            ("sub/a.png", 0, 0),
        ]
        assert run.stored("b.png").uid == CONTENT.uid
        assert run.find("c.png") is run.stored("c.png") is None


def test_only_from_the_stored_revision(drive):
    drive(TEXT)
    assert mark(drive, "b.png", HAND) == 1
    for stale in (0, 2):
        assert mark(drive, "b.png", MODEL, revision=stale) is None
    assert marks_of(drive, "b.png") == (HAND,)
    assert mark(drive, "b.png", revision=1) == 2
    assert marks_of(drive, "b.png") == ()


def test_they_are_the_result_at_every_threshold(drive):
    drive(TEXT)
    before = found(drive)
    mark(drive, "b.png", HAND, MODEL, FIXED)
    for threshold in (0.05, 1.0):
        now = found(drive, threshold=threshold)["b.png"]
        assert now.labels == ("red", "green", "red")
        assert now.rles == (HAND.rle, MODEL.rle, FIXED.rle)
        assert np.isnan(now.scores).tolist() == [True, False, False]
        assert now.boxes[0].tolist() == [10, 10, 30, 30]
    assert found(drive)["a.png"].rles == before["a.png"].rles
    with RunReader(drive.path) as run:
        assert result_of(run, run.stored("b.png")).instances.origins == now.origins


def test_an_answer_never_touches_them(drive):
    drive(TEXT)
    mark(drive, "a.png", HAND)
    mark(drive, "sub/a.png")
    Image.fromarray(drawing(50, 60, things=[])).save(drive.folder / "a.png")
    (drive.folder / "sub" / "a.png").write_bytes(b"damaged")
    assert len(drive("green. cat", retry_failed=True)) == 3
    assert marks_of(drive, "a.png") == (HAND,)
    assert found(drive)["a.png"].image_hw == HW
    assert found(drive)["sub/a.png"].labels == ()


def test_a_picture_that_no_model_was_asked_about(drive):
    drive(TEXT, most=1)
    assert list(found(drive)) == ["a.png"]
    mark(drive, "sub/a.png", MODEL)
    assert list(found(drive)) == ["a.png", "sub/a.png"]
    (picture,) = [one for one in coco(drive)["images"] if one["file_name"] == "sub/a.png"]
    assert picture["neg_category_ids"] == []
    with RunReader(drive.path) as run:
        assert run.picture_count() == 2
        assert run.counts().waiting == 2


def test_a_picture_that_is_gone(drive):
    drive(TEXT)
    mark(drive, "b.png", HAND)
    os.rename(drive.folder / "b.png", drive.folder / "kept")
    drive(TEXT)
    assert list(found(drive)) == ["a.png", "sub/a.png"]
    with RunReader(drive.path) as run:
        assert not run.is_edited
    os.rename(drive.folder / "kept", drive.folder / "b.png")
    drive(TEXT)
    assert marks_of(drive, "b.png") == (HAND,)


def test_a_class_outlives_the_prompt(drive):
    drive(TEXT)
    mark(drive, "b.png", replace(HAND, label="sky"), FIXED)
    with RunWriter(drive.path) as run:
        run.add_class("kite")
        run.add_class("kite")
        assert run.classes == ("red", "sky", "green", "kite")
    drive("SKY: green")
    with RunReader(drive.path) as run:
        assert run.classes == ("SKY", "red", "kite")
    assert found(drive)["b.png"].labels == ("SKY", "red")


def absent(drive, name):
    content = coco(drive)
    names = {row["id"]: row["name"] for row in content["categories"]}
    (picture,) = [row for row in content["images"] if row["file_name"] == name]
    return [names[key] for key in picture["neg_category_ids"]]


def test_absence_is_what_a_model_was_asked_for(drive):
    drive(TEXT)
    with RunWriter(drive.path) as run:
        run.add_class("kite")
    assert absent(drive, "sub/a.png") == ["red", "sky", "green"]
    mark(drive, "b.png", replace(HAND, label="sky"))
    assert absent(drive, "b.png") == ["red", "green"]  # The red one was removed by hand.
    mark(drive, "b.png", replace(HAND, label="kite"), revision=1)
    assert absent(drive, "b.png") == ["red", "sky", "green"]


def test_absence_where_a_class_was_asked_for_alone(drive):
    drive(TEXT, most=1)
    mark(drive, "b.png", HAND)
    with RunWriter(drive.path) as run:
        run.add_class("kite")
        run.note_asked(run.find("b.png").picture, ["Kite", "red", "unheard of"])
    assert absent(drive, "b.png") == ["kite"]


def test_a_class_with_a_phrase_that_was_not_asked(drive):
    drive("sky: blue")
    with RunWriter(drive.path) as run:
        run.begin({}, "sky: blue | green", [("b.png", None)], independent=True)
    mark(drive, "b.png")
    assert absent(drive, "b.png") == []


def test_what_stands_in_the_file(drive):
    drive(TEXT)
    assert not any("origin" in row for row in coco(drive)["annotations"])
    mark(drive, "b.png", HAND, MODEL, FIXED)
    rows = coco(drive)["annotations"]
    assert [row["origin"] for row in rows] == ["model", "model", "hand", "model", "corrected"]
    hand, model, fixed = rows[2:]
    assert hand["quality"] == 0.75
    assert not {"score", "stability", "margin"} & hand.keys()
    assert (model["score"], model["quality"], model["stability"]) == (0.1235, 0.5, 0.25)
    assert fixed["score"] == 0.9
    assert not {"quality", "stability"} & fixed.keys()


def test_the_file_has_no_fault_and_loads_elsewhere(drive):
    drive(TEXT)
    empty = replace(HAND, uid="1" * 32, rle=box_rle(0, 0, 0, 0))
    twice = replace(HAND, uid="2" * 32, origin="model")
    mark(drive, "b.png", HAND, empty, MODEL, twice)
    mark(drive, "sub/a.png")
    content = coco(drive)
    out = drive.path.with_name("out.json")
    findings = Findings()
    lint(read_coco(out, findings), findings)
    check_files(findings, read_coco(out, findings), drive.folder)
    assert {fault.code for fault in findings.faults()} <= {"rle-not-crowd"}
    assert [row["origin"] for row in content["annotations"]] == ["model", "model", "hand", "model"]
    loaded = COCO(str(out))
    assert loaded.annToMask(loaded.anns[3]).sum() == 400
    data = sv.DetectionDataset.from_coco(str(drive.folder), str(out))
    assert len(data) == 3
    assert marks_of(drive, "b.png") == (HAND, empty, MODEL, twice)


@pytest.mark.parametrize("as_format", FORMATS)
def test_every_format(drive, as_format):
    drive(TEXT)
    mark(drive, "b.png", HAND, MODEL)
    out = drive.path.with_name("exported")
    with RunReader(drive.path) as run:
        assert export_annotations(run, out, as_format=as_format) == 4
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    assert not any(b"nan" in path.read_bytes() for path in files if path.suffix != ".png")


def test_labelme_and_csv_say_whose_they_are(drive):
    drive(TEXT)
    mark(drive, "b.png", HAND, FIXED)
    folder, table = drive.path.with_name("labelme"), drive.path.with_name("out.csv")
    with RunReader(drive.path) as run:
        export_annotations(run, folder, as_format="labelme")
        export_annotations(run, table, as_format="csv")
    shapes = json.loads((folder / "b.json").read_text())["shapes"]
    assert [shape["description"] for shape in shapes] == ["hand", "score 0.9000, corrected"]
    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert [(row[4], row[-1]) for row in rows[3:]] == [("", "hand"), ("0.9000", "corrected")]


def test_a_review(drive):
    drive(TEXT)
    mark(drive, "b.png", HAND, MODEL, replace(HAND, uid="e" * 32, label="sky"))
    page = drive.path.with_name("review.html")
    with RunReader(drive.path) as run:
        written = write_review(run, page)
    text = page.read_text("utf-8")
    assert written.instances == 5
    assert 'alt="red, by hand, in b.png"' in text
    assert "made or changed by hand" in text
    assert "nan" not in text


def test_instances_and_back():
    found = marks_to_instances([HAND, MODEL], HW, ["green", "red"], uid="x")
    again = instances_to_marks(found)
    assert [replace(one, uid="") for one in again] == [
        replace(HAND, uid=""),
        replace(MODEL, uid="", score=0.1235),
    ]
    assert again == instances_to_marks(found)
    assert len({one.uid for one in again}) == 2
    assert all(len(one.uid) == 32 for one in again)


@pytest.mark.parametrize(("predicted", "kept"), [(1.02, 1), (-0.01, 0)])
def test_a_quality_beyond_its_limits_is_at_them(predicted, kept):
    found = marks_to_instances([replace(HAND, quality=predicted)], HW, ["red"], uid="x")
    assert instances_to_marks(found)[0].quality == kept


def test_none():
    nothing = marks_to_instances([], HW, ["red"])
    assert len(nothing) == 0
    assert instances_to_marks(nothing) == instances_to_marks(Instances.empty(HW)) == ()


def test_an_odd_mask_is_of_its_picture_only():
    odd = replace(HAND, rle=Rle((1, 1), "01"))
    with pytest.raises(ValueError, match="masks of"):
        marks_to_instances([odd], HW, ["red"])


def test_a_run_of_a_version_without_marks(drive):
    drive(TEXT)
    with RunWriter(drive.path) as run:
        run._db.execute("PRAGMA user_version = 1")
    with pytest.raises(RunError, match="a run of version 1"):
        RunReader(drive.path)


def racing(drive, monkeypatch):
    """Has a hand add a class, with a mark, just before the next reader's snapshot begins."""
    right = RunReader.snapshot

    def snapshot(self):
        monkeypatch.undo()
        mark(drive, "b.png", replace(HAND, label="kite"))
        return right(self)

    monkeypatch.setattr(RunReader, "snapshot", snapshot)


@pytest.mark.parametrize("name", FORMATS)
def test_a_class_that_is_added_while_an_export_begins(drive, tmp_path, monkeypatch, name):
    drive(TEXT)
    racing(drive, monkeypatch)
    with RunReader(drive.path) as run:
        export_annotations(run, tmp_path / "first", as_format=name)
        export_annotations(run, tmp_path / "second", as_format=name)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def contents(path):
    paths = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {one.relative_to(path): one.read_bytes() for one in paths if one.is_file()}


def test_a_class_that_is_added_while_a_measurement_begins(drive, tmp_path, monkeypatch):
    drive(TEXT)
    truth = coco(drive)
    truth["categories"] += [{"id": 9, "name": "kite"}]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    racing(drive, monkeypatch)
    answers = read_answers(drive.path, read_truth(tmp_path / "truth.json"))
    assert 9 in {one.category for one in answers.found}
