"""Opening a run: new, one of annotate's, one that is at work."""

from dataclasses import replace

import pytest
from fakes import HereReader, NearSightedDetector, color_model

from perception.errors import ImageError, OutputError, PromptError, RunError
from perception.runs.annotate import annotate
from perception.runs.read import run_path
from perception.runs.records import Counts
from perception.runs.results import result_of, run_info
from perception.runs.settings import StorageSettings, only_worker
from perception.serve.opening import open_run


@pytest.fixture(autouse=True)
def readers_in_this_process(monkeypatch):
    monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.json"


def opened(folder, out, **options):
    with open_run(folder, out, color_model(), **options) as run:
        return run.text, run.classes, run.counts()


def test_a_new_one(folder, out):
    text, classes, counts = opened(folder, out, text="red. sky: blue")
    assert (text, classes, counts.waiting) == ("red. sky: blue", ("red", "sky"), 3)


def test_without_a_text(folder, out):
    assert opened(folder, out)[:2] == ("", ())
    assert opened(folder, out, text="red")[:2] == ("red", ("red",))


def test_one_of_annotates(folder, out):
    annotate(color_model, [str(folder)], "red. sky: blue", out)
    text, classes, counts = opened(folder, out, text="SKY: green, kite")
    assert (text, classes) == ("red. sky: blue", ("red", "sky", "kite"))
    assert counts.done == 3
    before = out.read_bytes()
    annotate(color_model, [str(folder)], "red. sky: blue", out)
    assert out.read_bytes() != before
    assert b"kite" in out.read_bytes()


def test_annotate_goes_on_with_one_of_ours(folder, out):
    opened(folder, out)
    notes = []
    summary = annotate(color_model, [str(folder)], "red", out, note=notes.append, overwrite=False)
    assert (summary.counts.done, summary.pictures, notes) == (3, 3, [])


def test_one_that_is_at_work(folder, out):
    with only_worker(run_path(out)), pytest.raises(RunError, match="another process works"):
        opened(folder, out)
    with open_run(folder, out, color_model()), pytest.raises(RunError, match="another process"):
        annotate(color_model, [str(folder)], "red", out)


def test_another_model(folder, out):
    opened(folder, out)
    other, notes = replace(color_model(), weights={"fake.onnx": "1" * 64}), []
    for _ in range(2):
        with open_run(folder, out, other, note=notes.append) as run:
            info = run_info(run, threshold=0.3, nms=0.7)
    assert notes[0].startswith("this run was begun with another model")
    assert info["weights"] == {"fake.onnx": "0" * 64}
    assert [model["weights"] for model in info["marked_with"]] == [{"fake.onnx": "1" * 64}]
    with pytest.raises(RunError, match="begun with other settings"):
        annotate(lambda: other, [str(folder)], "red", out)


def test_another_folder(folder, out):
    opened(folder, out)
    with pytest.raises(RunError, match="pictures in"):
        opened(folder / "sub", out)


def test_what_is_in_order_is_said_first(folder, out, tmp_path):
    with pytest.raises(ImageError, match="no such folder"):
        opened(tmp_path / "none", out)
    with pytest.raises(PromptError, match="only negatives"):
        opened(folder, out, text="!red")
    with pytest.raises(PromptError, match="this run stores scores from"):
        opened(folder, out, threshold=0.01)
    out.write_text("{}")
    out.with_name("out.json.run").unlink(missing_ok=True)
    with pytest.raises(OutputError, match="is of no run"):
        opened(folder, out)
    opened(folder, out, overwrite=True)


def test_begun_anew(folder, out):
    opened(folder, out, text="red")
    assert opened(folder, out, text="blue", overwrite=True)[1] == ("blue",)


class Stop(Exception):  # noqa: N818
    """Breaks a run off."""


def narrowed_and_interrupted(folder, out, model, **options):
    """A run over three images for two classes, then for one of them, ended after an image."""

    def stop(_):
        raise Stop

    annotate(lambda: model, [str(folder)], "red. blue", out, **options)
    with pytest.raises(Stop):
        annotate(lambda: model, [str(folder)], "red", out, batch=1, watch=lambda _: stop, **options)


@pytest.mark.parametrize("tile", [64, None])
def test_a_narrowed_run_that_was_interrupted_is_not_done(folder, out, tile):
    """In tiles, and for such models in whole images, answers depend on all that is asked."""
    model = replace(color_model(), detector=NearSightedDetector())
    model.detector.phrases_independent = tile is not None
    narrowed_and_interrupted(folder, out, model, keeping=StorageSettings(tile=tile))
    with open_run(folder, out, model) as run:
        before = run.counts()
        assert (before.waiting, before.total) == (3 - before.done, 3)
        assert before.done < 3
    other = replace(color_model(), weights={"fake.onnx": "1" * 64})
    with open_run(folder, out, other) as run:  # Which answers each phrase by itself.
        assert run.counts() == before
    summary = annotate(lambda: model, [str(folder)], "red", out, keeping=StorageSettings(tile=tile))
    assert summary.counts == Counts(done=3)


def test_another_model_leaves_a_narrowed_run_done(folder, out):
    annotate(color_model, [str(folder)], "red. blue", out)
    annotate(color_model, [str(folder)], "red", out)
    other = replace(color_model(), weights={"fake.onnx": "1" * 64})
    other.detector.phrases_independent = False
    with open_run(folder, out, other) as run:
        assert run.counts() == Counts(done=3)


def test_a_lower_threshold_makes_its_masks(folder, out):
    annotate(color_model, [str(folder)], "red. blue", out, threshold=0.95)
    notes = []
    with open_run(folder, out, color_model(), threshold=0.3, note=notes.append) as run:
        assert notes == ["making 3 masks in 2 images, which were left out so far"]
        assert run.counts() == Counts(done=3)
        found = [result_of(run, picture, threshold=0.3) for picture in run.pictures()]
        assert [len(one.instances) for one in found] == [2, 1, 0]


def test_masks_that_can_not_be_made(folder, out):
    annotate(color_model, [str(folder)], "red. blue", out, threshold=0.95)
    other = replace(color_model(), weights={"fake.onnx": "1" * 64})
    with pytest.raises(RunError, match=r"3 masks in 2 images are missing and can't be made: the m"):
        opened_with(other, folder, out)
    opened_with(other, folder, out, threshold=0.95)


def opened_with(model, folder, out, **options):
    with open_run(folder, out, model, **options):
        pass
