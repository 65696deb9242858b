"""Wrong arguments to the public functions: one line of our own, never a bare error of Python's."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes import color_model, drawing

import perception as pc

MODEL = color_model()
IMAGE = drawing()
ask = partial(MODEL, IMAGE)
segment = partial(MODEL.segment, IMAGE)
everything = partial(MODEL.everything, IMAGE)
BOX = [[5, 5, 50, 50]]
RAGGED = [[1, 2], [3]]


def instances(**changes):
    parts = {
        "image_hw": (12, 16),
        "classes": ("cat",),
        "boxes": [[0, 0, 4, 4]],
        "scores": [0.5],
        "class_ids": [0],
    }
    return pc.Instances(**(parts | changes))


def detections(**changes):
    parts = {"boxes": BOX, "scores": [0.5], "class_ids": [0], "phrase_ids": [0]}
    return pc.Detections(**(parts | {"runner_up": [-1], "margin": [0.5]} | changes))


# What is done, the error, and what its message says.
TABLE = {
    "load: None": (lambda: pc.load(None), pc.WeightsError, 'its name, such as "nano".*got None'),
    "load: a number": (lambda: pc.load(3), pc.WeightsError, "got 3"),
    "load: nothing": (lambda: pc.load(""), pc.WeightsError, 'no model is called ""'),
    "load: lines": (lambda: pc.load("na\nno"), pc.WeightsError, r"na\\nno"),
    "load: a missing path": (
        lambda: pc.load(Path("gone/model.pth")),
        pc.WeightsError,
        "gone/model.pth: no such file",
    ),
    "load: segmenter": (lambda: pc.load(segmenter=3), pc.WeightsError, "segmenter.*got 3"),
    "load: device": (lambda: pc.load(device=None), pc.DeviceError, "a device is.*got None"),
    "load: device 0": (lambda: pc.load(device=0), pc.DeviceError, "a device is.*got 0"),
    "load: precision": (lambda: pc.load(precision=16), pc.DeviceError, "got 16"),
    "load: precision list": (lambda: pc.load(precision=["fp16"]), pc.DeviceError, "fp16"),
    "load: threads": (lambda: pc.load(threads="2"), pc.DeviceError, "threads is.*got '2'"),
    "load: no threads": (lambda: pc.load(threads=-1), pc.DeviceError, "at least 0, got -1"),
    "load: half threads": (lambda: pc.load(threads=1.5), pc.DeviceError, r"got 1\.5"),
    "model: parts": (lambda: pc.Model("nano", "nano"), pc.WeightsError, r"pc\.load\(NAME\)"),
    "text: none": (lambda: ask(), pc.PromptError, "name what to find"),
    "text: a number": (lambda: ask(3), pc.PromptError, "a prompt is a string.*got 3"),
    "text: bytes": (lambda: ask(b"red"), pc.PromptError, "got b'red'"),
    "text: not all names": (lambda: ask(["red", 3]), pc.PromptError, "a string, got 3"),
    "text: a name None": (lambda: ask({None: ["red"]}), pc.PromptError, "a string, got None"),
    "text: phrases None": (lambda: ask({"a": None}), pc.PromptError, "a string, got None"),
    "text: phrases 3": (lambda: ask({"a": 3}), pc.PromptError, "a string, got 3"),
    "text: no phrases": (lambda: ask({"a": []}), pc.PromptError, "has no phrase"),
    "text: empty": (lambda: ask([]), pc.PromptError, "the prompt is empty"),
    "threshold: text": (
        lambda: ask("red", threshold="0.5"),
        pc.PromptError,
        "threshold is a number between 0 and 1, got '0.5'",
    ),
    "threshold: None": (lambda: ask("red", threshold=None), pc.PromptError, "got None"),
    "threshold: NaN": (lambda: ask("red", threshold=np.nan), pc.PromptError, "got nan"),
    "threshold: array": (lambda: ask("red", threshold=np.ones(2)), pc.PromptError, "array"),
    "threshold: per cent": (
        lambda: MODEL.detect(IMAGE, "red", threshold=50),
        pc.PromptError,
        "got 50",
    ),
    "tile: text": (lambda: ask("red", tile="512"), pc.PromptError, "side of a tile.*'512'"),
    "tile: fraction": (lambda: ask("red", tile=64.5), pc.PromptError, "side of a tile"),
    "max_pixels": (lambda: ask("red", max_pixels="9"), pc.ImageError, "max_pixels is.*'9'"),
    "max_pixels: None": (lambda: segment(boxes=BOX, max_pixels=None), pc.ImageError, "got None"),
    "examples: a box": (
        lambda: ask("red", examples=[1, 2, 3, 4]),
        pc.PromptError,
        r"examples: expected an array of shape \? x 4.*examples=\[\.\.\.\]",
    ),
    "examples: text": (lambda: ask("red", examples="box"), pc.PromptError, "examples: expected"),
    "not_examples": (lambda: ask("red", not_examples=RAGGED), pc.PromptError, "not_examples"),
    "image: None": (lambda: MODEL(None, "red"), pc.ImageError, "expected a path.*NoneType"),
    "image: a number": (lambda: MODEL(3, "red"), pc.ImageError, "got int"),
    "image: numbers": (lambda: MODEL([1, 2], "red"), pc.ImageError, "got int"),
    "image: floats": (lambda: MODEL(IMAGE / 255, "red"), pc.ImageError, "uint8.*float64"),
    "image: a NUL": (lambda: MODEL("a\0b", "red"), pc.ImageError, "can't be opened"),
    "image: no such bytes": (lambda: MODEL(b"", "red"), pc.ImageError, "empty"),
    "read: reduced": (lambda: pc.read_image(IMAGE, reduced=3), pc.ImageError, "2, 4 or 8, got 3"),
    "segment: nothing": (lambda: segment(), pc.PromptError, r"needs points=.*model\(image"),
    "segment: a text": (lambda: segment(points="car"), pc.PromptError, "numbers, got 'car'"),
    "segment: a point": (
        lambda: segment(points=(205, 400)),
        pc.PromptError,
        r"points: expected an array of shape \? x 2, got \(2,\).*points=\[\.\.\.\]",
    ),
    "segment: a box": (lambda: segment(boxes=(1, 2, 3, 4)), pc.PromptError, r"boxes=\[\.\.\.\]"),
    "segment: three numbers": (lambda: segment(points=[[1, 2, 3]]), pc.PromptError, r"\(1, 3\)"),
    "segment: ragged": (lambda: segment(points=RAGGED), pc.PromptError, "points: expected"),
    "segment: texts": (lambda: segment(points=[["1", "2"]]), pc.PromptError, "numbers, got"),
    "segment: None in it": (lambda: segment(points=[[1, None]]), pc.PromptError, "numbers, got"),
    "segment: NaN": (lambda: segment(points=[[1, np.nan]]), pc.PromptError, "inf or nan"),
    "segment: complex": (lambda: segment(points=[[1, 2j]]), pc.PromptError, "numbers, got"),
    "segment: enormous": (lambda: segment(boxes=[[0, 0, 1e300, 5]]), pc.PromptError, "inf or nan"),
    "segment: an object": (lambda: segment(boxes=object()), pc.PromptError, "numbers, got"),
    "segment: inside out": (lambda: segment(boxes=[[9, 9, 5, 5]]), pc.PromptError, "is empty"),
    "segment: label": (lambda: segment(boxes=BOX, label=3), pc.PromptError, "label is.*got 3"),
    "labels: half": (
        lambda: segment(points=[[20, 20]], point_labels=[0.5]),
        pc.PromptError,
        r"1 \(in\) or 0 \(out\), got \[0\.5\]",
    ),
    "labels: two": (lambda: segment(points=[[9, 9]], point_labels=[2]), pc.PromptError, "got .2"),
    "labels: NaN": (
        lambda: segment(points=[[9, 9]], point_labels=[np.nan]),
        pc.PromptError,
        "nan",
    ),
    "labels: text": (lambda: segment(points=[[9, 9]], point_labels=["in"]), pc.PromptError, "in"),
    "labels: one": (lambda: segment(points=[[9, 9]], point_labels=1), pc.PromptError, r"labels=\["),
    "labels: too many": (
        lambda: segment(points=[[9, 9]], point_labels=[1, 1]),
        pc.PromptError,
        "1 points need as many labels, got 2",
    ),
    "labels: no points": (lambda: segment(boxes=BOX, point_labels=[1]), pc.PromptError, "0 points"),
    "prompt: logits": (
        lambda: pc.Prompt(boxes=BOX, mask_logits="x"),
        pc.PromptError,
        "mask_logits: expected numbers",
    ),
    "everything: text": (lambda: everything(points_per_side="8"), pc.PromptError, "got '8'"),
    "everything: half": (lambda: everything(points_per_batch=0.5), pc.PromptError, "whole number"),
    "everything: nms None": (lambda: everything(nms=None), pc.PromptError, "nms.*got None"),
    "everything: layers": (lambda: everything(crop_layers="1"), pc.PromptError, "crop_layers is"),
    "everything: many layers": (lambda: everything(crop_layers=99), pc.PromptError, "at most 8"),
    "everything: overlap": (lambda: everything(crop_overlap=1), pc.PromptError, "less than 1"),
    "everything: offset": (lambda: everything(stability_offset="1"), pc.PromptError, "got '1'"),
    "everything: grid": (lambda: everything(grid="abc"), pc.PromptError, "grid: expected numbers"),
    "everything: no grid": (lambda: everything(grid=[]), pc.PromptError, "a grid is"),
    "everything: step": (lambda: everything(step=3), pc.PromptError, "step is called.*got 3"),
    "one call: nothing": (lambda: pc.segment(IMAGE), pc.PromptError, "either a text, or points"),
    "one call: both": (
        lambda: pc.segment(IMAGE, "red", boxes=BOX),
        pc.PromptError,
        "either a text, or points",
    ),
    "one call: model": (lambda: pc.segment(IMAGE, "red", model=None), pc.WeightsError, "got None"),
    "one call: detect": (lambda: pc.detect(IMAGE, None), pc.PromptError, "name what to find"),
    "one call: everything": (lambda: pc.everything(IMAGE, 3), pc.WeightsError, "got 3"),
    "instances: classes": (lambda: instances(classes="cat"), pc.DataError, "tuple of names"),
    "instances: ids": (
        lambda: instances(class_ids=[0.5]),
        pc.DataError,
        r"whole numbers, got 0\.5",
    ),
    "instances: NaN ids": (lambda: instances(class_ids=[np.nan]), pc.DataError, "got nan"),
    "instances: scores": (
        lambda: instances(scores=["a"]),
        pc.DataError,
        "scores: expected numbers",
    ),
    "instances: image": (lambda: instances(image="a.jpg"), pc.DataError, "expected an image"),
    "instances: rles": (lambda: instances(rles=(3,)), pc.DataError, "mask_to_rle"),
    "instances: masks": (lambda: instances().masks, pc.DataError, "only boxes"),
    "instances: overlay": (lambda: instances().overlay(), pc.DataError, "image="),
    "instances: simplify": (
        lambda: instances().to_coco(polygons=True, simplify="1"),
        pc.PromptError,
        "simplify is a number at least 0, got '1'",
    ),
    "detections": (lambda: detections(scores=None), pc.DataError, "scores: expected"),
    "detections: ids": (lambda: detections(class_ids=[1.5]), pc.DataError, r"got 1\.5"),
    "rle: size": (lambda: pc.Rle(3, ""), pc.DataError, r"\(height, width\), got 3"),
    "rle: sides": (lambda: pc.Rle((3, 0.5), ""), pc.DataError, r"width.*got 0\.5"),
    "rle: counts": (lambda: pc.Rle((3, 4), [12]), pc.DataError, r"got \[12\]"),
}


@pytest.mark.parametrize(("call", "error", "message"), TABLE.values(), ids=TABLE)
def test_a_wrong_argument_is_one_line_of_our_own(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, pc.PerceptionError)
    assert len(str(caught.value).splitlines()) == 1


def test_what_numbers_may_come_as():
    """Whatever numpy takes for numbers, and whole ones as floats."""
    wanted = segment(points=[[20, 20], [70, 40]], point_labels=[1, 0]).rles
    points = np.array([[20, 20], [70, 40]], np.float64)
    for labels in ([1.0, 0.0], [True, False], np.array([1, 0], np.uint8)):
        assert segment(points=points, point_labels=labels).rles == wanted
    assert len(ask("red", threshold=np.float32(0.5), max_pixels=np.int64(10**6))) == 1
    assert len(ask(np.array(["red", "blue"]))) == 2
    assert len(ask({"thing": np.str_("red")})) == 1
