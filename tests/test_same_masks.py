"""One image, one prompt, one mask: from Python, the command line, a session and the service.

The page is tied to the same masks in tests/click/test_browser.py.
"""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import perception as pc
from perception.cli.commands import cli
from perception.imaging.preprocess import Frame
from perception.ops.masks import rle_to_mask
from perception.ops.windows import Tile
from perception.predictor.predictions import LowResMask
from perception.types import Rle

pytestmark = pytest.mark.slow

PARK = Path(__file__).parents[1] / "demos" / "images" / "park.jpg"
HW = (480, 640)
DOG, OUT, BICYCLE = (210.0, 395.0), (218.0, 435.0), (410.0, 335.0, 548.0, 440.0)
PROMPTS = {
    "a click": {"points": [DOG]},
    "a click and its correction": {"points": [DOG, OUT], "point_labels": [1, 0]},
    "a box": {"boxes": [BICYCLE]},
    "a box and a click": {"boxes": [BICYCLE], "points": [(480.0, 345.0)], "point_labels": [0]},
}


@pytest.fixture(scope="module")
def model():
    return pc.load("nano")


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def from_session(model, prompt):
    session = model.interactive(PARK)
    for box in prompt.get("boxes", ()):
        session.box(box)
    labels = prompt.get("point_labels", [1])
    for place, label in zip(prompt.get("points", ()), labels, strict=False):
        session.click(*place, label=label)
    return session.mask()


def from_command_line(prompt, tmp_path):
    words = ["segment", str(PARK), "--out", str(tmp_path), "--quiet"]
    labels = prompt.get("point_labels", [1])
    for (x, y), label in zip(prompt.get("points", ()), labels, strict=False):
        words += ["--point", f"{x},{y},{label}"]
    for box in prompt.get("boxes", ()):
        words += ["--box", ",".join(map(str, box))]
    assert CliRunner().invoke(cli, words).exit_code == 0
    (annotation,) = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    rle = annotation["segmentation"]
    return rle_to_mask(Rle(tuple(rle["size"]), rle["counts"]))


@pytest.fixture(scope="module")
def client(model, tmp_path_factory):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from perception.serve.encoder import EmbeddingCache
    from perception.serve.middleware import Access
    from perception.serve.opening import ServedModel, open_run
    from perception.serve.server import build_app
    from perception.serve.service import Service

    folder = tmp_path_factory.mktemp("served")
    (folder / "in").mkdir()
    (folder / "in" / "park.jpg").write_bytes(PARK.read_bytes())
    out, cache = folder / "out.json", EmbeddingCache(folder / "cache")
    served = ServedModel(model, model.segmenter, *model.segmenter.graphs)
    with open_run(folder / "in", out, model, text="dog") as run:
        service = Service(run, served, out, cache=cache, threshold=0.3)
        yield TestClient(build_app(service, Access("127.0.0.1")), "http://127.0.0.1:8000")
        service.close()


def from_service(client, model, prompt):
    """A request for each click, with the mask before it, as the page sends them."""
    points, labels = prompt.get("points", []), prompt.get("point_labels", [1])
    box = prompt.get("boxes", [None])[0]
    previous = None
    for count in range(0 if box else 1, len(points) + 1):
        body = {"points": points[:count], "labels": labels[:count], "box": box}
        answer = client.post(
            "/api/click", params={"picture": "park.jpg"}, json={**body, "previous": previous}
        )
        assert answer.status_code == 200, answer.text
        (about, *_) = json.loads(answer.headers["x-candidates"])
        size = model.segmenter.metadata.mask_size
        logits = np.frombuffer(answer.content, np.float16).reshape(-1, size, size)[0]
        encoded = base64.b64encode(logits.tobytes()).decode()
        previous = {"window": about["window"], "logits": encoded}
    window = Tile(*about["window"])
    frame = Frame((window.y1 - window.y0, window.x1 - window.x0), model.segmenter.side)
    return LowResMask(window, logits.astype(np.float32), frame, HW).mask()


@pytest.mark.parametrize("name", PROMPTS)
def test_the_service_gives_pythons_mask(model, client, name):
    """It keeps embeddings in float16, as the page gets them."""
    mask = model.segment(PARK, **PROMPTS[name]).masks[0]
    assert iou(from_service(client, model, PROMPTS[name]), mask) >= 0.99


def test_a_text_gives_the_same_masks(model, client, tmp_path):
    found = model(PARK, "dog. kite")
    answer = client.post("/api/text", params={"picture": "park.jpg"}, json={"text": "dog. kite"})
    masks = [mark["rle"]["counts"] for mark in answer.json()["instances"]]
    for rle, counts in zip(found.rles, masks, strict=True):
        ours, theirs = rle_to_mask(rle), rle_to_mask(Rle(HW, counts))
        assert iou(ours, theirs) >= 0.99
    words = ["segment", str(PARK), "--text", "dog. kite", "--out", str(tmp_path), "--quiet"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    written = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [one["segmentation"]["counts"] for one in written] == [rle.counts for rle in found.rles]


@pytest.mark.parametrize("name", PROMPTS)
def test_every_entry_gives_the_mask(model, name, tmp_path):
    prompt = PROMPTS[name]
    mask = model.segment(PARK, **prompt).masks[0]
    assert mask.any()
    assert np.array_equal(model.segment(model.encode(PARK), **prompt).masks[0], mask)
    assert np.array_equal(from_session(model, prompt), mask)
    assert np.array_equal(from_command_line(prompt, tmp_path), mask)
