"""Prompts, classes, marks, saving: what a hand does, and what of it is there afterwards."""

import base64
import json

import numpy as np
import pytest
from fakes import drawing
from PIL import Image

from perception.ops.masks import mask_to_rle
from perception.predictor.whole import WholeImagePredictor
from perception.predictor.zoom import ZoomPredictor

A = {"params": {"picture": "a.png"}}


def put(client, revision, *marks, tab="one", name="a.png"):
    body = {"revision": revision, "tab": tab, "marks": list(marks)}
    return client.put("/api/marks", params={"picture": name}, json=body)


def marks_of(client, name="a.png"):
    return client.get("/api/picture", params={"picture": name}).json()


def click(client, **body):
    return client.post("/api/click", **A, json=body)


def candidates_of(answer):
    return json.loads(answer.headers["x-candidates"])


def as_previous(logits, window=(0, 0, 128, 96)):
    return {"window": window, "logits": base64.b64encode(logits.tobytes()).decode()}


def test_a_click(client):
    answer = click(client, points=[[20, 20]], labels=[1])
    assert answer.status_code == 200
    logits = np.frombuffer(answer.content, np.float16).reshape(3, 64, 64)
    assert candidates_of(answer) == [
        {"window": [0, 0, 128, 96], "quality": quality} for quality in (0.9, 0.7, 0.5)
    ]
    rows, columns = np.nonzero(logits[0] > 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 19, 4, 19)


def test_without_labels_all_points_are_in(client, service, monkeypatch):
    asked, real = [], service.served.segmenter.decode

    def decode(embedding, prompt):
        asked.append(prompt.point_labels.tolist())
        return real(embedding, prompt)

    monkeypatch.setattr(service.served.segmenter, "decode", decode)
    for labels in ({}, {"labels": None}, {"labels": [1, 0]}):
        assert click(client, points=[[20, 20], [30, 30]], **labels).status_code == 200
    assert click(client, box=[0, 0, 50, 50]).status_code == 200
    assert asked == [[1, 1], [1, 1], [1, 0], []]


def test_a_box_and_a_previous_mask(client):
    logits = np.zeros((256, 256), np.float16)
    prompt = {"points": [[20, 20]], "labels": [0], "box": [0, 0, 50, 50]}
    answer = click(client, **prompt, previous=as_previous(logits))
    assert answer.status_code == 200
    assert len(candidates_of(answer)) == 4
    rle = mask_to_rle(np.eye(96, 128))
    previous = {"rle": {"size": rle.size, "counts": rle.counts}}
    assert click(client, **prompt, previous=previous).status_code == 200
    assert click(client, box=[0, 0, 50, 50]).status_code == 200


@pytest.mark.parametrize(
    "window", [[0, 0, 0, 9], [500, 0, 600, 90], [-9, -9, 0, 0], [0, 0, 999, 999]]
)
def test_a_previous_mask_is_of_the_image(client, window):
    previous = as_previous(np.zeros((256, 256), np.float16), window)
    answer = click(client, points=[[20, 20]], labels=[1], previous=previous)
    assert answer.status_code == 422
    assert "window" in answer.json()["error"]
    params = {"picture": "a.png", "window": ",".join(map(str, window))}
    for path in ("embedding", "cells"):
        assert client.get(f"/api/{path}", params=params).status_code == 422


def test_a_click_needs_a_place_in_the_picture(client):
    for body, words in (
        ({}, "neither points nor a box"),
        ({"points": [[500, 20]], "labels": [1]}, "outside the image"),
        ({"points": [[5, 20]], "labels": []}, "as many labels, got 0"),
        ({"points": [[5, 20]], "labels": [1, 1]}, "as many labels, got 2"),
        ({"box": [50, 50, 50, 60]}, "is empty"),
    ):
        answer = click(client, **body)
        assert answer.status_code == 422
        assert words in answer.json()["error"]


def test_text(client):
    answer = client.post("/api/text", **A, json={"text": "RED, green. sky: blue"}).json()
    assert [mark["class"] for mark in answer["instances"]] == ["red", "sky"]
    assert [mark["origin"] for mark in answer["instances"]] == ["model", "model"]
    assert answer["absent"] == ["green"]
    again = client.post("/api/text", **A, json={"text": "red"}).json()["instances"]
    assert again[0]["uid"] != answer["instances"][0]["uid"]
    assert again[0]["rle"] == answer["instances"][0]["rle"]


@pytest.mark.parametrize("predictor", [WholeImagePredictor, ZoomPredictor])
def test_text_gives_the_masks_of_the_library(service_and_client, predictor):
    service, client = service_and_client
    segmenter = service.served.segmenter
    object.__setattr__(service.served.model, "predictor", predictor(segmenter))
    client.post("/api/text", **A, json={"text": "red"})
    encoded = segmenter.encoded
    answer = client.post("/api/text", **A, json={"text": "red. blue"}).json()["instances"]
    # The image's embedding is kept, and so are the crops that were encoded last.
    assert segmenter.encoded - encoded == (1 if predictor is ZoomPredictor else 0)
    expected = service.served.model(service.pictures.get("a.png").image, "red. blue")
    assert len(answer) == len(expected) == 2
    assert sorted(mark["rle"]["counts"] for mark in answer) == sorted(
        rle.counts for rle in expected.rles
    )


def test_text_adds_the_classes_that_it_finds(client):
    answer = client.post("/api/text", **A, json={"text": "Ball: blue. green"}).json()
    assert answer["classes"][2:] == [{"id": 3, "name": "Ball"}]
    assert put(client, 0, *answer["instances"]).status_code == 200


def test_text_at_a_threshold(client):
    answer = client.post("/api/text", **A, json={"text": "red", "threshold": 0.95}).json()
    assert answer["instances"] == []
    assert answer["absent"] == ["red"]


def test_text_that_finds_nothing_says_why(client):
    answer = client.post("/api/text", **A, json={"text": "red", "threshold": 0.95}).json()
    assert answer["why"] == [
        "nothing found: best scores below the threshold of 0.95: red 0.89",
        "try a threshold of 0.89",
    ]
    answer = client.post("/api/text", **A, json={"text": "Where is the dog?"}).json()
    assert answer["why"][1].endswith('give names of things: "dog"')
    assert client.post("/api/text", **A, json={"text": "red"}).json()["why"] == []


def test_text_that_cannot_be_read(client):
    answer = client.post("/api/text", **A, json={"text": "!red"})
    assert answer.status_code == 422
    assert "only negatives" in answer.json()["error"]


def test_marks_are_kept_as_they_were(serving, mark):
    marks = [
        mark(quality=0.123456789),
        mark((40, 0, 60, 96), "b" * 32, origin="model", score=0.5, **{"class": "sky"}),
        mark((0, 0, 5, 5), "0" * 32, origin="corrected", stability=1),
    ]
    with serving() as (_, client):
        assert put(client, 0, *marks).json() == {"revision": 1}
        assert marks_of(client)["marks"] == marks
    with serving() as (_, client):
        found = marks_of(client)
        assert (found["marks"], found["revision"]) == (marks, 1)
        row = client.get("/api/pictures").json()["pictures"][0]
        assert (row["marks"], row["edited"], row["state"]) == (3, True, "waiting")
        assert put(client, 1).json() == {"revision": 2}
        assert marks_of(client)["marks"] == []


@pytest.mark.parametrize(("predicted", "kept"), [(1.02, 1), (-0.01, 0), (0.7, 0.7)])
def test_a_quality_that_is_predicted_too_high_is_kept(client, mark, predicted, kept):
    """Networks predict it, so that it may lie beyond 0..1: no reason to lose a mark."""
    assert put(client, 0, mark(quality=predicted)).json() == {"revision": 1}
    assert marks_of(client)["marks"] == [mark(quality=kept)]


def test_the_slower_tab_is_told(client, mark):
    first, second = mark(), mark((50, 50, 70, 70), "b" * 32)
    assert put(client, 0, first).json() == {"revision": 1}
    answer = put(client, 0, second, tab="two")
    assert answer.status_code == 409
    assert answer.json()["revision"] == 1
    assert answer.json()["marks"] == [first]
    assert "another tab was faster" in answer.json()["error"]
    assert marks_of(client)["marks"] == [first]
    assert put(client, 1, first, second, tab="two").json() == {"revision": 2}


def test_an_answer_that_got_lost(client, mark):
    assert put(client, 0, mark()).json() == put(client, 0, mark()).json() == {"revision": 1}


def test_a_hand_has_no_score(client, mark):
    put(client, 0, mark(score=0.5))
    assert marks_of(client)["marks"][0]["score"] is None


def test_marks_of_a_picture_that_became_another(folder, client, mark):
    put(client, 0, mark())
    Image.fromarray(drawing(50, 60, things=[])).save(folder / "a.png")
    found = marks_of(client)
    assert "it was marked when it had 128 x 96 pixels" in found["failed"]
    answer = put(client, 1)
    assert answer.status_code == 422
    assert "its marks are kept" in answer.json()["error"]
    Image.fromarray(drawing(things=[])).save(folder / "a.png")
    assert marks_of(client)["marks"] == [mark()]


def test_other_tabs(client):
    def others(tab, name="a.png"):
        answer = client.post("/api/tab", params={"picture": name}, json={"tab": tab})
        return answer.json()["others"]

    assert (others("one"), others("two"), others("one"), others("three")) == (0, 1, 1, 2)
    assert others("two", "b.jpg") == 0
    assert others("one") == 1


def test_a_tab_that_is_reloaded_is_no_other_tab(client):
    def tell(tab, **more):
        answer = client.post("/api/tab", params={"picture": "a.png"}, json={"tab": tab, **more})
        return answer.json()["others"]

    assert tell("before") == 0
    assert tell("before", leaving=True) == 0
    assert tell("after") == 0
    assert tell("unknown", leaving=True) == 0
    assert tell("after") == 0


def test_classes(serving):
    with serving() as (_, client):
        answer = client.post("/api/classes", json={"name": "  big   kite "}).json()
        assert answer["classes"][-1] == {"id": 3, "name": "big kite"}
        for name, words in (
            ("RED", 'there is a class "red" already'),
            ("  ", "is empty"),
            ("x" * 101, "at most 100"),
        ):
            refused = client.post("/api/classes", json={"name": name})
            assert refused.status_code == 422
            assert words in refused.json()["error"]
    with serving(text="kite. red") as (_, client):
        names = [row["name"] for row in client.get("/api/session").json()["classes"]]
        assert names == ["red", "sky", "big kite", "kite"]


def test_a_mark_of_an_unknown_class(client, mark):
    answer = put(client, 0, mark(**{"class": "cat"}))
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "no class is called 'cat'; add it first",
    )


def test_saving(client, service, mark):
    put(client, 0, mark())
    put(client, 0, name="sub/a.png")
    answer = client.post("/api/save")
    assert answer.json() == {"output": "out.json", "instances": 1, "pictures": 2}
    content = json.loads(service.out.read_text())
    assert [row["file_name"] for row in content["images"]] == ["a.png", "sub/a.png"]
    assert content["annotations"][0]["origin"] == "hand"
    downloaded = client.get("/api/coco")
    assert downloaded.content == service.out.read_bytes()
    assert downloaded.headers["content-disposition"] == 'attachment; filename="out.json"'


def test_absence_is_recorded_where_it_was_asked(client, service, mark):
    client.post("/api/text", **A, json={"text": "sky: green"})
    put(client, 0, mark())
    client.post("/api/save")
    content = json.loads(service.out.read_text())
    assert content["images"][0]["neg_category_ids"] == [2]


@pytest.mark.parametrize("path", ["picture", "image", "embedding"])
def test_a_picture_that_is_none(client, path):
    answer = client.get(f"/api/{path}", params={"picture": "c.png"})
    assert answer.status_code == 404
    assert answer.json() == {"error": "c.png: no such image in this folder"}


@pytest.mark.parametrize("part", ["encode", "decode"])
def test_a_model_that_fails_on_a_picture(client, service, monkeypatch, part):
    def fail(*_):
        raise RuntimeError("no such\nkernel")

    with monkeypatch.context() as failing:
        failing.setattr(service.served.segmenter, part, fail)
        answer = click(client, points=[[20, 20]], labels=[1])
    assert answer.status_code == 500
    assert answer.json() == {"error": "the model failed on it: no such kernel"}
    assert click(client, points=[[20, 20]], labels=[1]).status_code == 200
