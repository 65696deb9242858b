"""The embedded models, loaded and used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import perception as pc
from perception.imaging.read import read_image

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "demos" / "images").glob("*.jpg"))


@pytest.fixture(scope="module")
def nano():
    return pc.load("nano")


def test_the_record_of_what_was_used(nano):
    result = nano(PICTURES[0], "apple")
    assert set(result.info["weights"]) == {
        "nano-detector-text.onnx",
        "nano-detector-image.onnx",
        "nano-detector-vocab.txt",
        "nano-detector-photo.onnx",
        "nano-detector-names.zip",
        "nano-segmenter-encoder.onnx",
        "nano-segmenter-preparer.onnx",
        "nano-segmenter-decoder.onnx",
    }
    assert all(len(digest) == 64 for digest in result.info["weights"].values())


def test_twenty_pictures_in_one_call_are_as_twenty_calls(nano):
    """Crops of all shapes, so that no two images fill the model's frame alike."""
    text, rng, crops = "star. apple, vehicle: car | bus, dog", np.random.default_rng(0), []
    for n in range(20):
        image = read_image(PICTURES[n % len(PICTURES)])
        height, width = rng.integers(200, 480), rng.integers(200, 640)
        crops.append(np.ascontiguousarray(image[:height, :width]))
    together = nano(crops, text, threshold=0.2)
    alone = [nano(crop, text, threshold=0.2) for crop in crops]
    assert sum(len(one) for one in together) > 0
    for one, other in zip(together, alone, strict=True):
        assert one.rles == other.rles
        assert one.labels == other.labels
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_everything_starts_from_limits_that_suit_nano(nano):
    assert nano.limits == (0.6, 0.7)
    found = nano.everything(PICTURES[0], points_per_side=8)
    assert found.info["everything"]["quality"] == 0.6
    assert len(found) > 0
    assert found.dropped["candidates"] == 3 * 64 == sum(found.dropped.values()) / 2 + len(found) / 2


@pytest.mark.parametrize(
    "text",
    [
        ", ".join(f"thing number {n}" for n in range(500)),
        "🍕. ❤️",
        "猫。红色的星",
        "wxyzzy",
        "!a, b",
    ],
)
def test_any_prompt_gets_an_answer(nano, text):
    result = nano(PICTURES[0], text)
    assert len(result.masks) == len(result)
    assert set(result.labels) <= set(result.classes)


@pytest.mark.parametrize("image_hw", [(1, 1), (1, 300), (3, 2), (40, 2000)])
def test_any_size_gets_an_answer(nano, image_hw):
    image = np.full((*image_hw, 3), 128, np.uint8)
    assert nano(image, "star").masks.shape[1:] == image_hw
    assert nano.segment(image, points=[[0.5, 0.5]]).image_hw == image_hw


def test_an_exported_segmenter_from_its_folder(nano, tmp_path):
    for part in ("encoder", "preparer", "decoder"):
        shutil.copy(ROOT / "weights" / f"nano-segmenter-{part}.onnx", tmp_path / f"my-{part}.onnx")
    model = pc.load(f"nano+{tmp_path}", threads=1)
    prompt = {"points": [[20, 20]]}
    image = read_image(PICTURES[0])
    assert model.segment(image, **prompt).rles == nano.segment(image, **prompt).rles
    assert f"{tmp_path.name}/my-encoder.onnx" in model.weights
    (tmp_path / "other-decoder.onnx").write_bytes(b"")
    with pytest.raises(pc.WeightsError, match=r"expected one file \*-decoder\.onnx, found 2"):
        pc.load(f"nano+{tmp_path}")


def test_an_exported_segmenter_in_place_of_the_model_s_own(tmp_path):
    """Which isn't loaded, and so needn't be there."""
    for part in ("encoder", "preparer", "decoder"):
        shutil.copy(ROOT / "weights" / f"nano-segmenter-{part}.onnx", tmp_path / f"my-{part}.onnx")
    model = pc.load("nano+sam-vit-b", segmenter=tmp_path, threads=1)
    assert model.weights == pc.load(f"nano+{tmp_path}", threads=1).weights
    (tmp_path / "my-preparer.onnx").unlink()
    with pytest.raises(
        pc.WeightsError, match=r"no \*-preparer\.onnx in this folder; perception ex"
    ):
        pc.load("nano", segmenter=tmp_path)
    with pytest.raises(pc.WeightsError, match=r"gone: no \*-encoder\.onnx in this folder"):
        pc.load("nano", segmenter=tmp_path / "gone")


def test_the_quickstart(tmp_path):
    subprocess.run(
        [sys.executable, ROOT / "demos" / "quickstart.py", PICTURES[0], "apple"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "overlay.png").is_file()
