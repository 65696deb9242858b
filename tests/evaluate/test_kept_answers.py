"""What is kept of a measurement, so that it goes on."""

import json

import pytest

from evaluate.things_on_disk import coco_file, stub_model, thing_under
from perception.errors import EvaluationError, ImageError, OutputError, RunError
from perception.evaluate.boxes import measure_boxes
from perception.evaluate.cache import answer_all
from perception.evaluate.click_result import measure_clicks
from perception.evaluate.objects import read_coco_things
from perception.report.html import unwatched
from perception.runs.settings import only_worker

ASKED = {"measured": "test", "weights": {"a": "1"}}


@pytest.fixture
def things(tmp_path):
    return read_coco_things(*coco_file(tmp_path))


class Asker:
    def __init__(self, fails_at=None):
        self.seen, self.fails_at = [], fails_at

    def __call__(self, image, picture):
        if picture.file_name == self.fails_at:
            raise KeyboardInterrupt
        self.seen.append(picture.file_name)
        return {"of": picture.file_name, "iou": 1 / 3}


def ask(things, keep, asker, asked=ASKED):
    return answer_all(things, asker, asked=asked, keep=keep, watch=unwatched)


def test_without_a_file_nothing_is_kept(things, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert [answer["of"] for _, answer in ask(things, None, Asker())] == ["a.png", "b.png"]
    assert sorted(tmp_path.rglob("*")) == before


def test_it_goes_on_where_it_was(things, tmp_path):
    keep = tmp_path / "deep" / "out.kept"
    with pytest.raises(KeyboardInterrupt):
        ask(things, keep, Asker(fails_at="b.png"))
    second, third = Asker(), Asker()
    found = ask(things, keep, second)
    assert second.seen == ["b.png"]
    assert [answer for _, answer in found] == [
        {"of": "a.png", "iou": 1 / 3},
        {"of": "b.png", "iou": 1 / 3},
    ]
    assert ask(things, keep, third) == found
    assert third.seen == []
    assert sorted(path.name for path in keep.parent.iterdir()) == ["out.kept"]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_that_was_cut_off_is_asked_again(things, tmp_path, cut):
    keep, again = tmp_path / "out.kept", Asker()
    ask(things, keep, Asker())
    whole = keep.read_bytes()
    keep.write_bytes(whole[:-cut])
    ask(things, keep, again)
    assert again.seen == ["b.png"]
    assert keep.read_bytes() == whole


def test_a_head_that_was_cut_off_is_begun_anew(things, tmp_path):
    keep, again = tmp_path / "out.kept", Asker()
    ask(things, keep, Asker())
    keep.write_bytes(keep.read_bytes()[:10])
    ask(things, keep, again)
    assert again.seen == ["a.png", "b.png"]


def test_another_question_is_refused(things, tmp_path):
    keep = tmp_path / "out.kept"
    ask(things, keep, Asker())
    before = keep.read_bytes()
    with pytest.raises(EvaluationError, match=r'another measurement \(weights: \{"a": "1"\} there'):
        ask(things, keep, Asker(), asked=ASKED | {"weights": {"a": "2"}})
    assert keep.read_bytes() == before


def test_measurements_ask_in_full(things, tmp_path):
    keep = tmp_path / "out.kept"
    model = stub_model(thing_under)
    first = measure_clicks(model, things, most=2, keep=keep)
    assert measure_clicks(model, things, most=2, keep=keep).to_json() == first.to_json()
    with pytest.raises(EvaluationError, match="most: 2 there, 3 now"):
        measure_clicks(model, things, most=3, keep=keep)
    with pytest.raises(EvaluationError, match='measured: "clicks" there, "boxes" now'):
        measure_boxes(model, things, keep=keep)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n", b"[1, 2]\n", b'{"a": 1}\n', b'{"form": "x", "asked": {}}\n', b"12"]
)
def test_another_file_is_refused_and_left(things, tmp_path, content):
    keep = tmp_path / "out.kept"
    keep.write_bytes(content)
    with pytest.raises(EvaluationError, match="remove it"):
        ask(things, keep, Asker())
    assert keep.read_bytes() == content


def test_a_folder_that_cant_be_written(things, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        ask(things, tmp_path / "file" / "out.kept", Asker())


def test_two_at_once_are_refused(things, tmp_path):
    keep = tmp_path / "out.kept"
    with only_worker(keep), pytest.raises(RunError, match="another process"):
        ask(things, keep, Asker())


def test_a_picture_that_is_gone_stops_it(things, tmp_path):
    (things.folder / "b.png").unlink()
    keep = tmp_path / "out.kept"
    with pytest.raises(ImageError, match="no such file"):
        ask(things, keep, Asker())
    lines = [json.loads(line) for line in keep.read_text().splitlines()]
    assert [line.get("picture") for line in lines] == [None, "a.png"]
