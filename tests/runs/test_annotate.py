"""Whole runs, with readers and threads."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import HereReader, NearSightedDetector, color_model, drawing
from PIL import Image

import perception as pc
from perception.coco.write import coco_bytes, to_coco
from perception.errors import OutputError, PromptError, RunError
from perception.imaging.discover import find_images
from perception.runs import image_reader as reading
from perception.runs import write as writer
from perception.runs.annotate import annotate, export_annotations
from perception.runs.read import RunReader, run_path
from perception.runs.records import Answer, Counts
from perception.runs.settings import StorageSettings
from runs.test_reading import serve

DEMOS = Path(__file__).parents[2] / "demos" / "images"
TEXT = "red thing: red, sky: blue. green"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.json"


@pytest.fixture(autouse=True)
def readers_in_this_process(request, monkeypatch):
    """Processes take half a second to start; one test has them."""
    if "processes" not in request.node.name:
        monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)


def run(folder, out, text=TEXT, model=None, **options):
    return annotate(lambda: model or color_model(), [str(folder)], text, out, **options)


def segmented(folder, text=TEXT, model=None, **options):
    """What ``perception segment`` writes of a folder."""
    results = []
    for picture in find_images([str(folder)]):
        found = (model or color_model())(picture.path, text, **options)
        results.append(replace(found, file_name=picture.name))
    return coco_bytes(to_coco(results))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_in_the_folder_is_a_failure_like_any_other(pictures, out):
    os.mkfifo(pictures / "aa.png")
    summary = run(pictures, out)
    assert summary.counts == Counts(done=3, failed=1)
    (failure,) = summary.failures
    assert "a named pipe, not a regular file" in str(failure)


@pytest.mark.parametrize(("batch", "parallel"), [(1, 1), (4, 1), (2, 3)])
def test_the_same_file_as_segment(pictures, out, batch, parallel):
    summary = run(pictures, out, batch=batch, parallel=parallel)
    assert summary.counts == Counts(done=3)
    assert (summary.annotations, summary.failures) == (3, ())
    assert out.read_bytes() == segmented(pictures)
    assert sorted(path.name for path in out.parent.iterdir()) == ["in", "out.json", "out.json.run"]


@pytest.fixture
def large(pictures):
    """Also larger images: things in things, across seams, and so small that tiles show them."""
    image = drawing(200, 320, [("red", (20, 20, 90, 90)), ("blue", (150, 10, 310, 30))])
    image[30:80, 30:80] = 255
    image[36:70, 36:70] = drawing(34, 34, [("red", (0, 0, 34, 34)), ("blue", (8, 8, 18, 18))])
    image[150:156, 201:207] = drawing(6, 6, [("red", (0, 0, 6, 6))])
    Image.fromarray(image).save(pictures / "large.png")
    Image.fromarray(image[:, 140:]).save(pictures / "sub" / "part.png")
    return pictures


def far_sighted():
    return replace(color_model(), detector=NearSightedDetector())


AFTER = [
    {},
    {"drop_nested": True},
    {"disjoint": True},
    {"tile": 64},
    {"tile": "auto", "drop_nested": True, "disjoint": True},
]


@pytest.mark.parametrize("options", AFTER, ids=str)
@pytest.mark.parametrize("threshold", [0.3, 0.85])
def test_after_the_models_the_same_as_segment(large, out, options, threshold):
    after = {name: value for name, value in options.items() if name != "tile"}
    keeping = StorageSettings(tile=options.get("tile"))
    run(large, out, model=far_sighted(), threshold=threshold, keeping=keeping, **after)
    expected = segmented(large, model=far_sighted(), threshold=threshold, **options)
    assert out.read_bytes() == expected
    if threshold < 0.85:
        rows = json.loads(expected)["annotations"]
        assert any("parent_id" in row for row in rows) == (options != {"drop_nested": True})
        assert any(row["area"] == 36 for row in rows) == ("tile" in options)


def test_another_choice_of_masks_needs_no_model(large, out):
    first = segmented(large, model=far_sighted(), drop_nested=True)
    run(large, out, model=far_sighted(), disjoint=True)
    again = out.with_name("again.json")
    with RunReader(run_path(out)) as reader:
        export_annotations(reader, again, as_format="coco", drop_nested=True)
    assert again.read_bytes() == first


def test_a_run_has_one_size_of_tiles(large, out):
    run(large, out, model=far_sighted(), keeping=StorageSettings(tile="auto"))
    before = out.read_bytes()
    run(large, out, model=far_sighted(), keeping=StorageSettings(tile=64))
    assert out.read_bytes() == before
    with pytest.raises(RunError, match="tile 64, now 96"):
        run(large, out, model=far_sighted(), keeping=StorageSettings(tile=96))
    with pytest.raises(RunError, match="tile 64, now none"):
        run(large, out, model=far_sighted())


def test_more_classes_in_tiles_ask_again(large, out):
    notes = []
    run(large, out, "red", far_sighted(), keeping=StorageSettings(tile=64))
    run(large, out, model=far_sighted(), keeping=StorageSettings(tile=64), note=notes.append)
    assert out.read_bytes() == segmented(large, model=far_sighted(), tile=64)
    assert "all images run again" in notes[0]


def test_with_processes(pictures, out):
    (pictures / "cut.png").write_bytes(b"\x89PNG")
    summary = run(pictures, out, workers=2)
    (pictures / "cut.png").unlink()
    assert summary.counts == Counts(done=3, failed=1)
    assert out.read_bytes() == segmented(pictures)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_processes_that_a_picture_kills(pictures, out, monkeypatch):
    expected = segmented(pictures)
    monkeypatch.setattr(reading, "_serve", serve)
    Image.fromarray(drawing()).save(pictures / "killer.png")
    summary = run(pictures, out, workers=1)
    assert summary.counts == Counts(done=3, failed=1)
    assert summary.failures == (("it killed the process that read it (SIGSEGV)", 1, "killer.png"),)
    assert out.read_bytes() == expected


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
def test_nano_gives_what_segment_gives(out, threshold):
    """To the last bit here; elsewhere a mask may depend on how many are decoded at once."""
    model = pc.load("nano", threads=1)
    text = "red star. heart | circle, dog. vehicle: car | bus. fir tree, !cat"
    annotate(lambda: model, [str(DEMOS)], text, out, threshold=threshold)
    ours = json.loads(out.read_bytes())
    theirs = json.loads(segmented(DEMOS, text, model, threshold=threshold))
    assert ours["images"] == theirs["images"]
    assert ours["info"] == theirs["info"]
    assert len(theirs["annotations"]) > 3
    for mine, other in zip(ours["annotations"], theirs["annotations"], strict=True):
        for name in ("image_id", "category_id", "score", "margin"):
            assert mine[name] == other[name]
        assert mine.get("runner_up_category_id") == other.get("runner_up_category_id")
        np.testing.assert_allclose(mine["bbox"], other["bbox"], atol=1)
        assert mine["quality"] == pytest.approx(other["quality"], abs=1e-3)


def test_running_again_changes_nothing(pictures, out):
    run(pictures, out)
    first, told = out.read_bytes(), []
    run(pictures, out, watch=lambda counts: told.append(counts) or told.append)
    assert told == [Counts(done=3)]
    assert out.read_bytes() == first


def test_progress(pictures, out):
    told = []
    run(pictures, out, watch=lambda counts: told.append(counts) or told.extend)
    assert told[0] == Counts(waiting=3)
    assert sum(record.reported for record in told[1:] if isinstance(record, Answer)) == 3


def test_other_settings_are_refused(pictures, out, tmp_path):
    run(pictures, out)
    with pytest.raises(RunError, match=r"other settings \(floor 0.05, now 0.2\); go on with"):
        run(pictures, out, keeping=StorageSettings(floor=0.2))
    other = replace(color_model(), weights={"fake.onnx": "1" * 64})
    with pytest.raises(RunError, match=r"fake\.onnx 000000000000…, now 111111111111…"):
        run(pictures, out, model=other)
    with pytest.raises(RunError, match=r"pictures in, now in/sub"):
        run(pictures / "sub", out)
    run(pictures, out, keeping=StorageSettings(floor=0.2), overwrite=True)


def test_notes(pictures, out):
    notes = []
    run(pictures, out, "red", note=notes.append)
    assert notes == []
    run(pictures, out, "red, blue", note=notes.append)
    assert "asked only for that" in notes.pop()
    model = color_model()
    model.detector.phrases_independent = False
    run(pictures, out, "red, green", model=model, note=notes.append)
    assert "all images run again" in notes.pop()
    assert out.read_bytes() == segmented(pictures, "red, green")


def test_new_classes_give_what_all_at_once_give(pictures, out):
    run(pictures, out, "red")
    run(pictures, out, TEXT)
    assert out.read_bytes() == segmented(pictures)


def test_an_output_of_something_else_is_kept(pictures, out):
    out.write_text("mine")
    with pytest.raises(OutputError, match=r"out\.json: is there, and is of no run"):
        run(pictures, out)
    assert out.read_text() == "mine"
    run(pictures, out, overwrite=True)
    with pytest.raises(OutputError, match="in: a folder"):
        run(pictures, pictures)


@pytest.mark.parametrize("threshold", [0.01, 1.5])
def test_thresholds_that_can_not_be(pictures, out, threshold):
    with pytest.raises(PromptError, match=r"stores scores from 0\.05 to 1"):
        run(pictures, out, threshold=threshold)
    assert not run_path(out).exists()


@pytest.mark.parametrize("floors", [{"floor": 0}, {"floor": 2}, {"floor_nms": 0.3}])
def test_floors_that_can_not_be(floors):
    with pytest.raises(PromptError, match="lies"):
        StorageSettings(**floors)


def test_a_full_disk_ends_the_run_with_what_is_done(pictures, out, monkeypatch):
    right = writer.write_record

    def write(db, record):
        if record.picture == 3:
            db.execute("PRAGMA max_page_count = 1")
            db.execute("CREATE TABLE big AS SELECT zeroblob(1000000)")
        right(db, record)

    monkeypatch.setattr(writer, "write_record", write)
    with pytest.raises(OutputError, match="the disk is full"):
        run(pictures, out, batch=1)
    monkeypatch.undo()
    monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)
    with RunReader(run_path(out)) as stored:
        assert stored.counts().total == 3
        assert stored.counts().waiting
    run(pictures, out)
    assert out.read_bytes() == segmented(pictures)


def test_twins_are_both_listed(pictures, out):
    Image.fromarray(drawing()).save(pictures / "twin.png")
    Image.fromarray(drawing()).save(pictures / "sub" / "twin.png")
    run(pictures, out)
    images = json.loads(out.read_bytes())["images"]
    assert [image["file_name"] for image in images][-2:] == ["sub/twin.png", "twin.png"]
    assert images[-1]["uid"] != images[-2]["uid"]
