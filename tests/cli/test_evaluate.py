"""``perception evaluate``: what is found, and the self-checks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import ColourDetector, HereReader

from perception.annotate import runner
from perception.annotate.marks import Mark, MarkedContent
from perception.annotate.writer import RunWriter
from perception.masks import window_to_rle

BOXES = {("a.png", "red"): [8, 8, 32, 32], ("a.png", "blue"): [64, 32, 48, 48]}
NAMES = ("red", "blue")


def truth(absent=False):
    """What is drawn in in/a.png and in/sub/a.png."""
    boxes = BOXES | {("sub/a.png", "red"): [60, 20, 40, 30]}
    files = sorted({name for name, _ in boxes})
    images = [
        {"id": n, "file_name": name, "height": 96, "width": 128} for n, name in enumerate(files)
    ]
    if absent:
        images[1]["neg_category_ids"] = [2]
    return {
        "images": images,
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, start=1)],
        "annotations": [
            {
                "id": n,
                "image_id": files.index(name),
                "category_id": NAMES.index(colour) + 1,
                "bbox": [x, y, width, height],
                "area": width * height,
                "iscrowd": 0,
                "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
            }
            for n, ((name, colour), (x, y, width, height)) in enumerate(boxes.items())
        ],
    }


@pytest.fixture
def evaluate(perception, monkeypatch):
    monkeypatch.setattr(runner, "Reader", HereReader)
    Path("truth.json").write_text(json.dumps(truth()))

    def run(*arguments):
        return perception("evaluate", *arguments)

    run.perception = perception
    return run


def test_a_model_on_the_pictures(evaluate):
    code, out, _ = evaluate("coco", "truth.json", "--images", "in")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "COCO average precision on truth.json"
    assert lines[1].split()[:4] == ["AP", "AP50", "AP75", "APs"]
    assert lines[2].split()[:3] == ["box", "1.000", "1.000"]
    assert lines[3].split()[0] == "mask"
    assert Path("perception-out/evaluate/truth-nano.json.run").is_file()


def test_the_same_command_goes_on(evaluate, monkeypatch):
    command = ("coco", "truth.json", "--images", "in", "--json", "-", "-q")
    first = evaluate(*command)
    with monkeypatch.context() as patch:
        patch.setattr(ColourDetector, "candidates", lambda *_, **__: 1 / 0)
        assert evaluate(*command) == first
    other = evaluate(*command, "--threshold", "0.01")
    assert other[0] == 1
    assert "begun with other settings (floor 0.05, now 0.01)" in other[2]
    assert evaluate(*command, "--threshold", "0.01", "--overwrite")[0] == 0
    # Higher ones are in the run already.
    assert evaluate(*command, "--threshold", "0.5", "--overwrite")[0] == 0
    assert evaluate(*command, "--threshold", "0.5")[0] == 0


def test_json_alone_on_standard_output(evaluate):
    code, out, err = evaluate("coco", "truth.json", "--images", "in", "--json", "-", "-q")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["measured"] == "COCO average precision on truth.json"
    assert content["box"]["AP"] == content["mask"]["AP50"] == 1
    assert content["info"]["detector"]
    assert content["info"]["threshold"] == 0.05
    assert [one["name"] for one in content["box"]["classes"]] == ["red", "blue"]
    assert "in/" not in out


def test_a_run_and_its_file(evaluate):
    text = ("annotate", "in", "--text", "Red. blue", "--out", "out.json", "-q")
    assert evaluate.perception(*text)[0] == 0
    first = evaluate("coco", "truth.json", "out.json", "--json", "-")
    assert evaluate("coco", "truth.json", "out.json.run", "--json", "-") == first
    assert json.loads(first[1])["box"]["AP"] == 1
    Path("out.json.run").unlink()
    code, out, err = evaluate("coco", "truth.json", "out.json", "--json", "figures.json")
    assert (code, err) == (0, "wrote figures.json\n")
    assert json.loads(Path("figures.json").read_text())["mask"]["AP"] == 1
    assert "box" in out


@pytest.fixture
def unsure(monkeypatch):
    """A detector that takes everything red for blue, and thinks of red next."""
    sure = ColourDetector._scores

    def scores(self, image, phrases, floor):
        found = sure(self, image, phrases, floor)
        red = (found.scores[:, 0] > 0)[:, None] & (np.arange(2) == [[0]])
        blue = np.roll(red, 1, axis=1)
        return replace(found, scores=np.where(red, 0.5, np.where(blue, 0.95, found.scores)))

    monkeypatch.setattr(ColourDetector, "_scores", scores)


@pytest.mark.usefixtures("unsure")
def test_all_labels_count_if_that_is_asked(evaluate):
    command = ("coco", "truth.json", "--images", "in", "--json", "-", "-q")
    best = json.loads(evaluate(*command)[1])
    assert [one["AP50"] for one in best["box"]["classes"]] == [0, pytest.approx(1 / 3, abs=0.01)]
    assert "labels" not in best["info"]
    with_all = json.loads(evaluate(*command, "--labels", "all")[1])
    assert with_all["info"]["labels"] == "all"
    for kind in ("box", "mask"):  # red things are found as red, too, and blue is as it was
        red, blue = with_all[kind]["classes"]
        assert (red["AP50"], blue["AP50"]) == (1, best[kind]["classes"][1]["AP50"])
    # One run has both, and lvis asks it for the same.
    Path("absent.json").write_text(json.dumps(truth(absent=True)))
    run = "perception-out/evaluate/truth-nano.json.run"
    for labels, want in (("best", best), ("all", with_all)):
        options = (run, "--labels", labels, "--json", "-", "-q")
        assert json.loads(evaluate("coco", "truth.json", *options)[1]) == want
        federated = json.loads(evaluate("lvis", "absent.json", *options)[1])
        assert federated["mask"]["classes"][0]["AP50"] == (labels == "all")


def test_all_labels_of_a_file(evaluate):
    text = ("annotate", "in", "--text", "red. blue", "--out", "out.json", "-q")
    assert evaluate.perception(*text)[0] == 0
    assert evaluate("coco", "truth.json", "out.json", "--labels", "all")[0] == 0  # its run
    Path("out.json.run").unlink()
    code, out, err = evaluate("coco", "truth.json", "out.json", "--labels", "all")
    assert (code, out) == (1, "")
    assert "error: out.json: a file has one label for each answer; for all labels give a run" in err


def test_classes_that_the_truth_has_not(evaluate):
    text = ("annotate", "in", "--text", "red. tree", "--out", "out.json", "-q")
    assert evaluate.perception(*text)[0] == 0
    code, out, err = evaluate("coco", "truth.json", "out.json")
    assert (code, out) == (1, "")
    assert '"tree": no such category in the truth' in err


def test_what_was_not_asked_or_answered_is_a_note(evaluate):
    text = ("annotate", "in/a.png", "--text", "red", "--out", "out.json", "-q")
    assert evaluate.perception(*text)[0] == 0
    code, _, err = evaluate("coco", "truth.json", "out.json")
    assert code == 0
    assert "1 of the truth's pictures have no answer" in err
    assert "nobody was asked for count as missed: blue" in err
    assert evaluate("coco", "truth.json", "out.json", "-q")[2] == ""


def test_pictures_of_another_size(evaluate):
    content = truth()
    content["images"][0] |= {"height": 128, "width": 96}
    content["annotations"][1] |= {"bbox": [0, 0, 9, 9], "segmentation": [[0, 0, 9, 0, 9, 9]]}
    Path("turned.json").write_text(json.dumps(content))
    code, _, err = evaluate("coco", "turned.json", "--images", "in", "-q")
    assert code == 1
    assert "a.png is 128 x 96 here and 96 x 128 in the truth" in err


@pytest.mark.parametrize("command", ["coco", "concepts", "grounding"])
def test_the_first_images_alone(evaluate, command):
    def measured(*arguments):
        code, out, err = evaluate(command, "truth.json", *arguments, "--json", "-", "-q")
        assert (code, err) == (0, "")
        return json.loads(out)["info"]

    first = measured("--images", "in", "--limit", "1")
    assert first["pictures"] == 1
    assert "pictures without an answer" not in first
    assert first["truth"] == "truth.json (first 1 images)"
    # The same run goes on with the others.
    whole = measured("--images", "in")
    assert (whole["pictures"], whole["truth"]) == (2, "truth.json")
    if command != "grounding":
        assert measured("perception-out/evaluate/truth-nano.json", "--limit", "1") == {
            **first,
            **{key: value for key, value in whole.items() if key == "answers"},
        }


def test_results_of_images_beyond_the_limit_are_passed_over(evaluate):
    rows = [{"image_id": n, "category_id": 1, "bbox": [8, 8, 32, 32], "score": 0.9} for n in (0, 1)]
    Path("results.json").write_text(json.dumps(rows))
    code, out, _ = evaluate("coco", "truth.json", "results.json", "--limit", "1", "--json", "-")
    assert code == 0
    assert json.loads(out)["info"]["found"] == 1


def test_quiet_figures_that_are_written_are_not_printed(evaluate):
    ask = ("coco", "truth.json", "--images", "in", "-q")
    assert "COCO average precision" in evaluate(*ask)[1]
    assert evaluate(*ask, "--json", "out.json") == (0, "", "")
    assert json.loads(Path("out.json").read_text())["box"]["AP"] == 1


def test_lvis(evaluate):
    code, _, err = evaluate("lvis", "truth.json", "--images", "in", "-q")
    assert code == 1
    assert "no picture has neg_category_ids" in err
    Path("truth.json").write_text(json.dumps(truth(absent=True)))
    code, out, _ = evaluate("lvis", "truth.json", "--images", "in", "--json", "-", "-q")
    assert code == 0
    assert json.loads(out)["mask"]["AP"] == 1


def test_concepts_take_the_same_run(evaluate):
    assert evaluate("coco", "truth.json", "--images", "in", "-q")[0] == 0
    loads = len(evaluate.perception.loaded)
    code, out, _ = evaluate("concepts", "truth.json", "--images", "in", "--json", "-", "-q")
    assert code == 0
    content = json.loads(out)
    assert content["box"]["cgF1"] == content["box"]["MCC"] == 1
    assert content["box"]["presence"] == {"tp": 3, "tn": 1, "fp": 0, "fn": 0}
    assert content["info"]["threshold"] == 0.5
    assert len(evaluate.perception.loaded) == loads + 1


def test_grounding(evaluate):
    code, out, _ = evaluate("grounding", "truth.json", "--images", "in")
    assert code == 0
    assert out.splitlines()[2].split() == ["any", "1.000", "1.000", "1.000", "1.000"]
    phrases = [{"image": "a.png", "phrase": "a thing", "boxes": [[8, 8, 40, 40]]}]
    Path("phrases.json").write_text(json.dumps(phrases))
    Path("answers.json").write_text(json.dumps([phrases[0] | {"scores": [1]}]))
    code, out, _ = evaluate("grounding", "phrases.json", "answers.json", "--json", "-")
    assert json.loads(out)["any"]["R@1"] == 1
    code, out, _ = evaluate("grounding", "phrases.json", "--images", "in", "--json", "-", "-q")
    assert json.loads(out)["any"]["R@1"] == 0  # "a" is no colour.


def test_pictures_that_are_missing_are_noticed_before_the_model_loads(evaluate):
    for command in ("grounding", "coco"):
        code, _, err = evaluate(command, "truth.json", "--images", "gone", "-q")
        assert (code, evaluate.perception.loaded) == (1, [])
        assert "gone: no such folder; --images names the one of the pictures" in err


def test_grounding_of_a_run(evaluate):
    text = ("annotate", "in", "--text", "red. blue", "--out", "out.json", "-q")
    assert evaluate.perception(*text)[0] == 0
    code, out, _ = evaluate("grounding", "truth.json", "out.json", "--json", "-")
    assert code == 0
    assert json.loads(out)["any"]["R@1"] == 1


def test_check(evaluate):
    code, out, _ = evaluate("check", "truth.json")
    assert code == 0
    assert "all passed" in out.splitlines()[0]
    assert "FAILED" not in out
    assert "coco: truth.json itself, mask AP" in out


def test_a_check_that_fails_is_status_1(evaluate, monkeypatch):
    from perception.evaluate import check_instances

    monkeypatch.setattr(check_instances, "shifted", lambda answers, by: answers)
    code, out, _ = evaluate("check")
    assert code == 1
    assert "FAILED" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["coco", "truth.json"], "give RUN or RESULTS.json, or --images"),
        (["grounding", "truth.json"], "give RUN or RESULTS.json, or --images"),
        (
            ["coco", "truth.json", "x.json", "--model", "nano"],
            "give either RUN or RESULTS.json, or",
        ),
        (["coco"], "Missing argument 'TRUTH.json'"),
    ],
)
def test_usage(evaluate, arguments, says):
    code, out, err = evaluate(*arguments)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize("command", ["coco", "lvis", "concepts", "grounding"])
def test_files_that_are_not_there(evaluate, command):
    code, _, err = evaluate(command, "none.json", "x.json")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "none.json" in err
    code, _, err = evaluate("coco", "truth.json", "none.json")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "none.json: no such file" in err


def test_answers_that_are_written_to_a_file_called_run(evaluate):
    """The database lies beside it, and is read, not the file."""
    code, out, err = evaluate(
        "coco", "truth.json", "--images", "in", "--out", "a.json.run", "--json", "-", "-q"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["box"]["AP"] == 1


def test_a_report(evaluate):
    code, _, err = evaluate("coco", "truth.json", "--images", "in", "--report", "a/r.html", "-q")
    assert (code, err) == (0, "")
    page = Path("a/r.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("data:image/jpeg") >= 4  # Two pictures, with truth and answers.


def test_names_with_folders(evaluate):
    """LVIS names its pictures by COCO's addresses; a folder of pictures is flat."""
    content = truth(absent=True)
    for image, name in zip(content["images"], ("x/a.png", "y/b.png"), strict=True):
        del image["file_name"]
        image["coco_url"] = f"http://images.cocodataset.org/{name}"
    Path("urls.json").write_text(json.dumps(content))
    Path("flat").mkdir()
    Path("in/a.png").rename("flat/a.png")
    Path("in/sub/a.png").rename("flat/b.png")
    code, out, _ = evaluate("lvis", "urls.json", "--images", "flat", "--json", "-", "-q")
    assert code == 0
    assert json.loads(out)["box"]["AP"] == 1
    code, out, _ = evaluate("grounding", "urls.json", "--images", "flat", "--json", "-", "-q")
    assert json.loads(out)["any"]["R@1"] == 1


def test_a_picture_that_fails_counts_as_missed(evaluate):
    Path("in/sub/a.png").write_bytes(b"no picture")
    code, out, err = evaluate("coco", "truth.json", "--images", "in", "--json", "-")
    assert code == 1
    assert json.loads(out)["box"]["AP50"] < 1
    assert json.loads(out)["info"]["pictures without an answer"] == 1
    assert "1 picture failed" in err
    assert "1 of the truth's pictures have no answer" in err


def test_what_a_hand_made_is_sure(evaluate):
    text = ("annotate", "in", "--text", "red. blue", "--out", "out.json", "-q")
    assert evaluate.perception(*text)[0] == 0
    mask = window_to_rle(np.ones((30, 40), bool), (60, 20), (96, 128))
    with RunWriter(Path("out.json.run")) as run:
        marks = [Mark("a" * 32, "red", "hand", mask)]
        content = MarkedContent("c" * 16, (96, 128), None)
        run.mark(run.find("sub/a.png").picture, marks, content, revision=0)
    code, out, _ = evaluate("concepts", "truth.json", "out.json", "--json", "-")
    assert code == 0
    assert json.loads(out)["mask"]["cgF1"] == 1
