"""SAM 3 as a detector and a segmenter in one model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from segmenters.given import asked_of_transformers
from transformers import (
    Sam3ImageProcessor,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    Sam3TrackerProcessor,
)

from perception.errors import PromptError, WeightsError
from perception.imaging.preprocess import fit_picture
from perception.models.load import load
from perception.models.model import Model
from perception.predictor.whole import WholeImagePredictor
from perception.prompts.grammar import parse
from perception.sam3.finder import RGB_MEAN, RGB_STD
from perception.sam3.model import Sam3, load_sam3
from perception.types import Examples, ImageArray, Prompt

from .sam3_tiny import SIDE

BOX = [2, 1, 60.5, 30.75]
POINTS = {"points": [[3.25, 4], [20, 1]], "point_labels": [1, 0]}
EARLIER = {"mask_logits": 4 * np.random.default_rng(0).normal(size=(1, 16, 16))}
PROMPTS = {
    "one point": {"points": [[3, 4]]},
    "points": POINTS,
    "box": {"boxes": [BOX]},
    "points, box and earlier mask": {**POINTS, "boxes": [BOX], **EARLIER},
}


@pytest.fixture(scope="module")
def model(sam3: Sam3) -> Model:
    return Model(sam3, WholeImagePredictor(sam3))


@pytest.fixture(scope="module")
def tracker(network: Any) -> Any:
    """Transformers' network for clicks on images, with the same weights.

    Of four levels it adds the code for "nothing remembered" to the coarsest, which nothing reads;
    the authors' code leaves that level out before, and so must its neck here.
    """
    places = {
        "tracker_model.": "",
        "tracker_neck.": "vision_encoder.neck.",
        "detector_model.vision_encoder.backbone.": "vision_encoder.backbone.",
    }
    weights = {
        to + key.removeprefix(start): value
        for start, to in places.items()
        for key, value in network.state_dict().items()
        if key.startswith(start)
    }
    config = network.config.tracker_config.to_dict()
    config["vision_config"]["scale_factors"] = [4.0, 2.0, 1.0]
    alone = Sam3TrackerModel(Sam3TrackerConfig(**config))
    assert not alone.load_state_dict(weights, strict=False).missing_keys
    return alone.eval()


@pytest.mark.parametrize("given", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("size", [(56, 56), (37, 91), (91, 37)], ids=str)
def test_clicks_are_those_of_transformers(sam3: Sam3, tracker: Any, size, given) -> None:
    image = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    given = {**given, **({"boxes": [[2, 1, 30, 30]]} if "boxes" in given else {})}
    processor = Sam3TrackerProcessor(Sam3ImageProcessor(size={"height": SIDE, "width": SIDE}))
    inputs = asked_of_transformers(processor, image, given)
    pixels = fit_picture(image, SIDE, stretched=True, mean=RGB_MEAN, std=RGB_STD)[1]
    assert np.abs(inputs["pixel_values"].numpy() - pixels).max() <= 1.01 * 2 / 255
    inputs["pixel_values"] = torch.from_numpy(pixels)
    have = sam3.decode(sam3.encode(image), Prompt(**given))
    for multimask, index in ((False, slice(0, 1)), (True, slice(1, 4))):
        want = tracker(**inputs, multimask_output=multimask)
        logits = want.pred_masks[0, 0].numpy()
        largest = np.abs(logits).max()
        np.testing.assert_allclose(have.logits[0, index], logits, rtol=0, atol=1e-4 * largest)
        np.testing.assert_allclose(have.quality[0, index], want.iou_scores[0, 0], atol=1e-4)


def test_text_to_masks(model: Model, sam3: Sam3, image: ImageArray) -> None:
    phrases = parse("red star, cat")
    found = model(image, "red star, cat", threshold=0.0)
    (detected,) = sam3.detect([image], phrases, threshold=0.0)
    assert 0 < len(found) <= len(detected)
    assert found.classes == ("red star", "cat")
    assert list(found.seconds) == ["read", "detect", "masks", "select"]
    assert ((found.quality > 0.5) & (found.quality <= 1)).all()
    masks = detected.masks.frame.logits_to_masks(detected.masks.logits)
    own = {mask.tobytes() for mask in masks}
    assert all(mask.tobytes() in own for mask in found.masks)
    assert found.info["detector"] == found.info["segmenter"] == "tiny-sam3"


def test_boxes_only(model: Model, image: ImageArray) -> None:
    found = model.detect(image, "cat", threshold=0.0)
    assert len(found)
    assert found.rles == ()


def test_nothing_found(model: Model, image: ImageArray) -> None:
    found = model(image, "cat", threshold=1.0)
    assert found.masks.shape == (0, 37, 91)


def test_examples_alone(model: Model, image: ImageArray) -> None:
    found = model(image, examples=[[3, 4, 30, 30]], not_examples=[[50, 3, 60, 20]], threshold=0.0)
    assert found.classes == ("object",)
    assert found.info["examples"] == [[3, 4, 30, 30]]
    assert found.info["not_examples"] == [[50, 3, 60, 20]]
    json.dumps(found.info)


def test_examples_change_what_a_text_finds(model: Model, image: ImageArray) -> None:
    plain = model.detect(image, "cat", threshold=0.0)
    shown = model.detect(image, "cat", examples=[[3, 4, 30, 30]], threshold=0.0)
    other = model.detect(image, "cat", not_examples=[[3, 4, 30, 30]], threshold=0.0)
    assert shown.classes == ("cat",)
    assert not np.array_equal(plain.scores, shown.scores)
    assert not np.array_equal(other.scores, shown.scores)
    assert "examples" not in plain.info


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "name what to find, or show an example"),
        ({"not_examples": [[3, 4, 30, 30]]}, "need a text or an example of what is"),
        ({"examples": [[3, 4, 3, 30]]}, "box 3,4,3,30 is empty"),
        ({"examples": [[3, 4, 9, 30]], "tile": 64}, "not together with tiles"),
        ({"text": "cat, car", "examples": [[3, 4, 9, 30]]}, "examples show one class"),
    ],
)
def test_examples_that_make_no_sense(model: Model, image: ImageArray, given, error) -> None:
    with pytest.raises(PromptError, match=error):
        model(image, **given)


def test_a_list_of_pictures(model: Model, image: ImageArray) -> None:
    together = model([image, image[:20]], "cat", threshold=0.0)
    alone = [model(one, "cat", threshold=0.0) for one in (image, image[:20])]
    assert [one.boxes.shape for one in together] == [one.boxes.shape for one in alone]


def test_a_list_of_pictures_with_examples(model: Model, image: ImageArray) -> None:
    images = [image, image[:20]]
    together = model(images, examples=[[3, 4, 15, 15]], threshold=0.0)
    alone = [model(one, examples=[[3, 4, 15, 15]], threshold=0.0) for one in images]
    assert [one.boxes.shape for one in together] == [one.boxes.shape for one in alone]


def test_loading_it_by_its_folder(saved: Path, image: ImageArray) -> None:
    model = load(str(saved), device="cpu")
    assert model.detector is model.segmenter
    assert len(model(image, "cat", threshold=0.0))


def test_points_and_everything_need_no_text(model: Model, image: ImageArray) -> None:
    found = model.segment(image, points=[[30, 20]])
    assert found.info["segmenter"] == "tiny-sam3"
    model.everything(image, points_per_side=2, quality=0, stability=0)


def test_both_sides_share_the_image_encoder(sam3: Sam3) -> None:
    trunk = sam3._clicker._network.vision.trunk
    assert trunk is sam3._finder._concepts.network.vision_encoder.backbone


def test_the_embedding_of_another_model_is_refused(
    sam3: Sam3, saved: Path, image: ImageArray
) -> None:
    other = load_sam3(saved, name="tiny-sam3", version="2")
    with pytest.raises(PromptError, match="made by tiny-sam3 2, not by tiny-sam3 1"):
        sam3.decode(other.encode(image), Prompt(boxes=[BOX]))


def test_a_missing_weight(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["tracker_neck.fpn_layers.0.proj1.weight"]
    save_file({**weights, "extra": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing: tracker_neck.*; unknown: extra"):
        load_sam3(folder, name="x")


def test_a_folder_without_a_tokenizer(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(WeightsError, match="model"):
        load_sam3(folder, name="x")


def test_a_folder_of_another_model(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "sam2"}')
    with pytest.raises(WeightsError, match="is of type 'sam2', SAM 3 is 'sam3_video'"):
        load_sam3(folder, name="x")


def test_threads_are_the_models_own(saved: Path, image: ImageArray) -> None:
    seen: set[int] = set()
    model = load_sam3(saved, name="tiny-sam3", threads=2)
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda *_: seen.add(torch.get_num_threads())
    )
    try:
        model.candidates([image], parse("cat"), floor=0.0)
        model.shown(Examples(np.float32([[2, 1, 60, 30]]), np.array([1]))).candidates(
            [image], parse("visual"), floor=0.0
        )
        model.decode(model.encode(image), Prompt(boxes=[BOX]))  # type: ignore[arg-type]
    finally:
        hook.remove()
    assert (seen, torch.get_num_threads()) == ({2}, 1)
