"""Opening the page costs the same, however many images the run has."""

import threading
import time
from contextlib import contextmanager

import pytest
from fakes import HereReader, drawing
from PIL import Image

from perception.runs.annotate import annotate
from perception.serve import run_results
from perception.serve.run_results import RunResults

from .conftest import served_model

IMAGES = 240


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run over many small images, which have 1 to 3 instances in turns."""
    root = tmp_path_factory.mktemp("run")
    (root / "in").mkdir()
    boxes = [("red", (2, 2, 12, 12)), ("blue", (20, 2, 30, 12)), ("red", (2, 16, 12, 22))]
    for n in range(IMAGES):
        drawn = drawing(24, 32, things=boxes[: 1 + n % 3])
        Image.fromarray(drawn).save(root / "in" / f"{n:04d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perception.runs.local_engine.Reader", HereReader)
        annotate(lambda: served_model().model, [str(root / "in")], "red. blue", root / "out.json")
    return root


@pytest.fixture
def computed(monkeypatch):
    """The images whose results were made, in order."""
    names, real = [], run_results.result_of

    def counted(run, stored, **options):
        names.append(stored.name)
        return real(run, stored, **options)

    monkeypatch.setattr(run_results, "result_of", counted)
    return names


@pytest.fixture
def opened(run, serving, monkeypatch):
    """The service over that run."""

    @contextmanager
    def open_it():
        with serving(text="", folder=run / "in", out=run / "out.json") as both:
            yield both

    return open_it


def until(done):
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_opening_makes_the_result_of_the_open_image_alone(opened, computed):
    with opened() as (_, client):
        assert client.get("/api/session").json()["pictures"] == IMAGES
        listed = client.get("/api/pictures", params={"limit": 100, "offset": 0}).json()
        assert (len(listed["pictures"]), listed["total"]) == (100, IMAGES)
        assert client.get("/api/pictures", params={"limit": 1000}).status_code == 200
        assert client.get("/api/place", params={"picture": "0123.png"}).json() == {"place": 123}
        assert computed == []
        marks = client.get("/api/picture", params={"picture": "0002.png"}).json()["marks"]
        assert len(marks) == 3
        assert computed == ["0002.png"]
        client.get("/api/picture", params={"picture": "0002.png"})
        assert computed == ["0002.png"]


def test_numbers_are_made_for_the_rows_that_are_asked_for(opened, computed):
    with opened() as (_, client):
        names = [f"{n:04d}.png" for n in range(40, 60)]
        counts = {}
        while len(counts) < len(names):
            asked = {"pictures": [name for name in names if name not in counts]}
            answer = client.post("/api/counts", json=asked).json()["counts"]
            assert answer  # However slow the machine is, one comes with each.
            counts |= answer
        assert counts == {name: 1 + int(name[:4]) % 3 for name in names}
        assert sorted(computed) == names
        listed = client.get("/api/pictures", params={"limit": 60}).json()["pictures"]
        assert [row["marks"] for row in listed] == [None] * 40 + [counts[name] for name in names]
        too_many = {"pictures": ["x"] * 201}
        assert client.post("/api/counts", json=too_many).status_code == 422


def test_results_that_are_kept_are_bounded(run, computed):
    with_room = RunResults(run / "out.json.run", threshold=0.3, max_bytes=20_000)
    for n in range(IMAGES):
        assert len(with_room.marks(f"{n:04d}.png")) == 1 + n % 3
        assert with_room.bytes <= 20_000
    assert len(computed) == IMAGES
    with_room.marks(f"{IMAGES - 1:04d}.png")  # The last one is there,
    assert len(computed) == IMAGES
    with_room.marks("0000.png")  # the first one isn't any more.
    assert len(computed) == IMAGES + 1
    with_room.close()
    smallest = RunResults(run / "out.json.run", threshold=0.3, max_bytes=1)
    assert len(smallest.marks("0002.png")) == len(smallest.marks("0002.png")) == 3
    assert len(computed) == IMAGES + 2
    smallest.close()


def test_counts_that_are_kept_are_bounded(run, monkeypatch):
    monkeypatch.setattr(run_results, "MAX_COUNTS", 10)
    results = RunResults(run / "out.json.run", threshold=0.3)
    names = [f"{n:04d}.png" for n in range(30)]
    results.counts(names, seconds=60)
    assert [name for name in names if results.known_count(name) is not None] == names[-10:]
    results.close()


def test_counting_ends_in_time_and_lets_an_opened_image_go_first(run, monkeypatch):
    results, real = RunResults(run / "out.json.run", threshold=0.3), run_results.result_of
    names = [f"{n:04d}.png" for n in range(50)]
    assert list(results.counts(names, seconds=0)) == names[:1]
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args, **options):
        begun.set()
        assert go_on.wait(30)
        return real(*args, **options)

    monkeypatch.setattr(run_results, "result_of", slow)
    found = {}
    counting = threading.Thread(target=lambda: found.update(results.counts(names[1:], seconds=600)))
    counting.start()
    assert begun.wait(30)
    marked = []
    opening = threading.Thread(target=lambda: marked.append(results.marks(names[-1])))
    opening.start()
    until(lambda: results._urgent)
    go_on.set()
    counting.join(30)
    opening.join(30)
    assert list(found) == names[1:2]
    assert len(marked[0]) == 2
    results.close()


def test_whoever_writes_does_not_wait_for_a_result(opened, mark, monkeypatch):
    real, begun, go_on = run_results.result_of, threading.Event(), threading.Event()

    def slow(*args, **options):
        begun.set()
        assert go_on.wait(30)
        return real(*args, **options)

    monkeypatch.setattr(run_results, "result_of", slow)
    with opened() as (service, client):
        opening = threading.Thread(target=lambda: service.open("0005.png"))
        opening.start()
        assert begun.wait(30)
        assert client.post("/api/classes", json={"name": "kite"}).status_code == 200
        assert client.get("/api/pictures").json()["total"] == IMAGES
        body = {"revision": 0, "tab": "x", "marks": [mark((1, 1, 5, 5), size=(24, 32))]}
        put = client.put("/api/marks", params={"picture": "0239.png"}, json=body)
        assert put.json() == {"revision": 1}
        assert opening.is_alive()
        go_on.set()
        opening.join(30)
        assert client.put("/api/marks", params={"picture": "0239.png"}, json=body).json() == {
            "revision": 1
        }


def test_the_list_can_be_searched(opened):
    with opened() as (_, client):

        def names(**query):
            found = client.get("/api/pictures", params=query).json()
            return [row["name"] for row in found["pictures"]], found["total"]

        assert names(contains="12.PNG") == ([f"{n}12.png" for n in ("00", "01", "02")], 3)
        assert names(contains="012", offset=1, limit=2) == (["0120.png", "0121.png"], 11)
        for special in ("%", "_", "\\", "0%2", "'"):
            assert names(contains=special) == ([], 0)
        place = {"picture": "0112.png", "contains": "12"}
        assert client.get("/api/place", params=place).json() == {"place": 1}
        place["contains"] = "x"
        assert client.get("/api/place", params=place).json() == {"place": None}
        assert client.get("/api/place", params={"picture": "x"}).status_code == 404
