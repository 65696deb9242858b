"""A model that is called with images from anywhere."""

import inspect
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import NearSightedDetector, color_model, drawing
from PIL import Image

import perception as pc
from perception import api as one_call
from perception import defaults
from perception.coco.write import to_coco
from perception.errors import ImageError, PromptError, WeightsError
from perception.models.load import load
from perception.models.missing import MissingSegmenter
from perception.models.model import Model
from perception.predictor.everything_settings import EverythingSettings, MaskLimits
from perception.predictor.whole import WholeImagePredictor

PICTURE = Path(__file__).parents[2] / "demos" / "images" / "breakfast.jpg"


def as_sources(image, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    return [path, str(path), path.read_bytes(), Image.open(path), image]


def test_all_sources_give_the_same(tmp_path):
    results = color_model()(as_sources(drawing(), tmp_path), "red. blue")
    assert [result.labels for result in results] == [("red", "blue")] * 5
    assert len({result.rles for result in results}) == 1
    assert len({result.uid for result in results}) == 1
    assert [result.file_name for result in results] == ["a.png", "a.png", "", "", ""]


def test_a_list_gives_what_single_calls_give():
    rng = np.random.default_rng(0)
    images = []
    for _ in range(20):
        x, y = rng.integers(0, 60, 2)
        images.append(drawing(things=[("red", (x, y, x + 30, y + 30))]))
    model = color_model()
    together = model(images, "red thing, blue thing")
    assert [one.rles for one in together] == [
        model(i, "red thing, blue thing").rles for i in images
    ]
    assert model([], "red") == []


def test_info_says_how():
    result = color_model()(drawing(), {"warm": ["red", "orange"]}, threshold=0.5)
    info = dict(result.info)
    assert info.pop("version")
    assert info == {
        "description": "made with perception",
        "detector": "color-detector",
        "segmenter": "color-segmenter",
        "weights": {"fake.onnx": "0" * 64},
        "text": {"warm": ["red", "orange"]},
        "threshold": 0.5,
    }
    assert "segmenter" not in color_model().detect(drawing(), "red").info


def test_choices_of_what_comes_after_the_models():
    things = [("red", (8, 8, 40, 40)), ("blue", (10, 10, 20, 20)), ("red", (60, 50, 100, 90))]
    model, image = color_model(), drawing(things=things)
    plain = model(image, "red. blue")
    assert plain.parent.tolist() == [-1, 0, -1]
    assert not {"tile", "disjoint", "drop_nested"} & set(plain.info)
    apart = model(image, "red. blue", disjoint=True, drop_nested=True)
    assert apart.masks.sum(axis=0).max() == 1
    assert (apart.info["disjoint"], apart.info["drop_nested"]) == (True, True)
    with pytest.raises(PromptError, match="32 pixels"):
        model(image, "red", tile=3)


def test_tiles_of_many_pictures():
    model = Model(NearSightedDetector(), color_model().predictor)
    images = [drawing(40, 60, [("red", (8, 8, 20, 20))]), drawing(), drawing(200, 90)]
    together = model(images, "red. blue", tile="auto")
    for one, image in zip(together, images, strict=True):
        alone = model(image, "red. blue", tile=64)
        assert one.rles == alone.rles
        assert one.info == alone.info
        assert one.info["tile"] == 64
    boxes = model.detect(images, "red. blue", tile="auto")
    assert [len(one) for one in boxes] == [1, 2, 2]


def test_detect():
    result = color_model().detect(drawing(), "red")
    assert len(result) == 1
    assert result.rles == ()
    assert len(color_model().detect([drawing(), drawing()], "red")) == 2


def test_segment_points_and_boxes():
    model = color_model()
    point = model.segment(drawing(), points=[[20, 20]])
    assert point.labels == ("object",)
    assert point.boxes.tolist() == [[8, 8, 40, 40]]
    np.testing.assert_allclose(point.scores, 0.9)
    assert point.info["prompt"] == {"points": [[20, 20]], "point_labels": [1]}
    boxes = model.segment(drawing(), boxes=[[0, 0, 50, 50], [60, 20, 120, 90]], label="thing")
    assert boxes.labels == ("thing", "thing")
    assert boxes.prompt_ids.tolist() == [0, 1]
    assert len(model.segment(drawing(), points=[[20, 20]], candidates=True)) == 3
    # A detector's boxes, of which there may be none.
    assert len(model.segment(drawing(), boxes=np.zeros((0, 4)))) == 0


def test_everything():
    steps = []
    found = color_model().everything(drawing(), points_per_side=8, stability=0.9, step=steps.append)
    assert found.labels == ("object",) * 3
    assert [8, 8, 40, 40] in found.boxes.tolist()
    assert found.points.shape == (3, 2)
    assert sum(steps) == 64
    assert set(found.seconds) == {"read", "encode", "decode", "masks", "select"}
    info = found.info["everything"]
    assert (info["points_per_side"], info["stability"], info["quality"]) == (8, 0.9, 0.88)
    assert "detector" not in found.info
    assert len(color_model().everything(drawing(), grid=[[0.2, 0.2]], min_area=9000)) == 0
    with pytest.raises(PromptError, match="points_per_side is"):
        color_model().everything(drawing(), points_per_side=0)


def settings_of(function):
    """Names and defaults of what segment-everything can be told."""
    others = ("self", "image", "model", "device", "precision", "threads", "max_pixels", "step")
    parameters = inspect.signature(function).parameters
    return {n: p.default for n, p in parameters.items() if n not in others}


def test_settings_of_everything_are_the_same_everywhere():
    # Left open: what suits the model.
    expected = settings_of(EverythingSettings) | {"quality": None, "stability": None}
    assert settings_of(Model.everything) == expected
    assert settings_of(one_call.everything) == expected


def test_limits_that_suit_the_model():
    asked = color_model().everything(drawing(), points_per_side=4).info["everything"]
    assert (asked["quality"], asked["stability"]) == (0.88, 0.95)
    model = replace(color_model(), limits=MaskLimits(0.4, 0.2))
    asked = model.everything(drawing(), points_per_side=4).info["everything"]
    assert (asked["quality"], asked["stability"]) == (0.4, 0.2)
    asked = model.everything(drawing(), points_per_side=4, quality=0.0).info["everything"]
    assert (asked["quality"], asked["stability"]) == (0.0, 0.2)


def test_everything_in_one_call(monkeypatch, tmp_path):
    loaded = []

    def load(name, *, device, precision, threads):
        loaded.append((name, device, precision, threads))
        return color_model()

    monkeypatch.setattr(one_call, "load", load)
    given = {
        "points_per_side": 9,
        "grid": [[0.2, 0.2], [0.7, 0.6]],
        "points_per_batch": 3,
        "quality": 0.6,
        "stability": 0.5,
        "stability_offset": 2.0,
        "nms": 0.6,
        "crop_layers": 1,
        "crop_nms": 0.65,
        "crop_overlap": 0.25,
        "crop_downscale": 2,
        "min_region": 3,
        "min_area": 7,
    }
    assert set(given) == set(settings_of(EverythingSettings))
    Image.fromarray(drawing()).save(tmp_path / "a.png")
    found = one_call.everything(tmp_path / "a.png", "other", device="cpu", threads=3, **given)
    assert loaded == [("other", "cpu", "auto", 3)]
    assert len(found)
    del given["points_per_side"]  # The grid stands in its place.
    assert found.info["everything"] == given
    with pytest.raises(ImageError, match="limit of 100"):
        one_call.everything(tmp_path / "a.png", max_pixels=100)


def test_encode_once_decode_often():
    from perception.types import Prompt

    segmenter = color_model().segmenter
    embedding = segmenter.encode(drawing())
    for place in ([20, 20], [70, 40]):
        assert segmenter.decode(embedding, Prompt(points=[place])).masks().shape == (1, 96, 128)


def test_a_model_says_what_it_is():
    model = color_model()
    assert repr(model) == "<Model: color-detector + color-segmenter, fp32>"
    boxes = Model(
        model.detector, WholeImagePredictor(MissingSegmenter("color-detector")), precision="bf16"
    )
    assert repr(boxes) == "<Model: color-detector, bf16>"


@pytest.mark.parametrize(
    ("prompt", "same"),
    [
        ({"text": "red. blue", "threshold": 0.85}, lambda m, i: m(i, "red. blue", threshold=0.85)),
        ({"points": [[20, 20]]}, lambda m, i: m.segment(i, points=[[20, 20]])),
        (
            {"points": [[20, 20], [1, 1]], "point_labels": [1, 0], "boxes": [[5, 5, 60, 60]]},
            lambda m, i: m.segment(
                i, points=[[20, 20], [1, 1]], point_labels=[1, 0], boxes=[[5, 5, 60, 60]]
            ),
        ),
    ],
    ids=["text", "point", "points and a box"],
)
def test_segment_in_one_call(monkeypatch, prompt, same):
    loaded = []

    def load(name, **where):
        loaded.append((name, where))
        return color_model()

    monkeypatch.setattr(one_call, "load", load)
    found = one_call.segment(drawing(), **prompt, model="other", device="cpu")
    assert loaded == [("other", {"device": "cpu"})]
    wanted = same(color_model(), drawing())
    assert len(found)
    assert found.rles == wanted.rles
    assert found.labels == wanted.labels
    assert found.info == wanted.info


def test_detect_in_one_call():
    image = Image.open(PICTURE)
    found = pc.detect(image, "apple", threshold=0.2)
    wanted = load("nano").detect(image, "apple", threshold=0.2)
    assert len(found)
    assert found.rles == ()
    np.testing.assert_array_equal(found.boxes, wanted.boxes)


def test_errors():
    model = color_model()
    with pytest.raises(PromptError, match="outside"):
        model.segment(drawing(), points=[[500, 20]])
    with pytest.raises(PromptError, match="empty"):
        model(drawing(), "")
    with pytest.raises(ImageError, match="no such file"):
        model("nowhere.png", "red")
    with pytest.raises(ImageError, match="limit of 100"):
        model(Image.fromarray(drawing()), "red", max_pixels=100)
    with pytest.raises(WeightsError, match="did you mean nano"):
        load("nanno")


def test_defaults_are_shared():
    for function in (Model.__call__, Model.detect):
        assert inspect.signature(function).parameters["threshold"].default == defaults.THRESHOLD
    assert inspect.signature(load).parameters["name"].default == defaults.MODEL


def test_one_coco_file_of_many():
    buffer = io.BytesIO()
    Image.fromarray(drawing()).save(buffer, "PNG")
    result = color_model()(buffer.getvalue(), "red")
    assert to_coco([result]) == result.to_coco()
