"""The photograph half: what the files give is what torch gives, and the gate says who answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from perception.detectors.nano.names import NameTable
from perception.detectors.nano.onnx import NanoDetector
from perception.detectors.nano.photo_onnx import DRAWN, PHOTO, USUAL, DrawnMap, fit_input
from perception.errors import ImageError
from perception.imaging.preprocess import Frame
from perception.ops.boxes import clip_boxes
from perception.prompts.grammar import parse
from perception.types import ImageArray

from .tiny import FILES, NAMES, PHOTO_SIDE, build_tiny_photo, export_tiny, tiny_names


def picture(height: int, width: int, seed: int = 0) -> ImageArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def gated(folder: Path, drawn: float) -> NanoDetector:
    """The tiny detector whose gate says the same of every cell."""
    shutil.copytree(export_tiny()[0], folder, dirs_exist_ok=True)
    model = onnx.load(folder / FILES[3])
    (bias,) = (one for one in model.graph.initializer if one.name.endswith("gate.out.bias"))
    bias.CopyFrom(numpy_helper.from_array(np.array([drawn], np.float32), bias.name))
    onnx.save(model, folder / FILES[3])
    return NanoDetector(*(folder / name for name in FILES), threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (20, 31), (211, 90), (1, 7)])
def test_on_a_photograph_the_photograph_half_answers(tmp_path: Path, size: tuple[int, int]) -> None:
    detector, image = gated(tmp_path, -10.0), picture(*size)
    phrases = parse("cats, a car, thing, wxyzzy")
    (found,) = detector.candidates([image], phrases, floor=1e-6)
    frame, pixels = fit_input(image, PHOTO_SIDE)
    rows = torch.from_numpy(tiny_names().rows)
    with torch.no_grad():
        boxes, logits, drawn = build_tiny_photo(-10.0)(torch.from_numpy(pixels), rows)
    assert drawn.max() < 1e-4
    cat, car = logits[0].sigmoid().T.numpy()
    want = np.stack((cat, car, np.maximum(cat, car), np.zeros_like(cat)), axis=1)
    fitted = clip_boxes(frame.boxes_to_image(boxes[0].numpy()), size)
    kept = found.queries
    assert len(kept) > 0
    np.testing.assert_allclose(found.boxes, fitted[kept], atol=2e-3 * max(size))
    np.testing.assert_allclose(found.scores, want[kept], atol=2e-4)


@pytest.mark.slow
def test_between_drawn_and_photographed_both_halves_answer(tmp_path: Path) -> None:
    drawn = 0.4  # In each cell, and so in each box.
    detector = gated(tmp_path / "mixed", float(np.log(drawn / (1 - drawn))))
    photo = gated(tmp_path / "photo", -10.0)
    all_drawn = NanoDetector(*(export_tiny()[0] / name for name in FILES), threads=1)
    image, phrases = picture(90, 64), parse("cat")
    both, one, other = (
        some.candidates([image], phrases, floor=1e-9)[0] for some in (detector, all_drawn, photo)
    )
    count = len(one)
    np.testing.assert_allclose(both.scores[:count], one.scores, rtol=1e-4)
    np.testing.assert_array_equal(both.boxes[count:], other.boxes)
    share = 1 - (2 * drawn - USUAL - PHOTO[0]) / (PHOTO[1] - PHOTO[0])
    np.testing.assert_allclose(both.scores[count:], share * other.scores, rtol=1e-3)


def test_how_drawn_a_box_is() -> None:
    cells = np.zeros((4, 6), np.float32)
    cells[:, :2] = 1
    cells[0, 2] = 0.4  # So that the image as a whole is as drawn as is usual between the two.
    seen = DrawnMap(cells, Frame((64, 96), 96))
    boxes = np.array([[0, 0, 32, 64], [16, 0, 48, 64], [64, 0, 96, 64]], np.float32)
    assert seen.shift == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(seen.mean(boxes), [1, 0.55, 0])
    drawn, photo = seen.weights(boxes)
    np.testing.assert_allclose(drawn, [1, 1, 0])
    np.testing.assert_allclose(photo, [0, 1 / 6, 1], atol=1e-5)
    assert (seen.any_drawn, seen.any_photo) == (True, True)
    assert DRAWN[0] < PHOTO[0] < DRAWN[1] < PHOTO[1]  # So one of the halves answers in full.


def test_a_flat_patch_is_taken_for_what_is_around_it() -> None:
    cells = np.full((4, 6), 0.9, np.float32)
    cells[:2, :2] = 0.3
    box = np.array([[0, 0, 32, 32]], np.float32)
    drawn, photo = DrawnMap(cells, Frame((64, 96), 96)).weights(box)
    assert (drawn, photo) == (1, 0)
    drawn, photo = DrawnMap(cells - 0.3, Frame((64, 96), 96)).weights(box)
    assert drawn < 0.1
    assert photo == 1


@pytest.mark.parametrize(("size", "want"), [((480, 640), (96, 96)), ((100, 400), (32, 96))])
def test_the_input_is_no_larger_than_needed(size: tuple[int, int], want: tuple[int, int]) -> None:
    _, pixels = fit_input(picture(*size), 96)
    assert pixels.shape == (1, 3, *want)


def test_an_input_of_another_kind() -> None:
    with pytest.raises(ImageError, match="expected an RGB image"):
        fit_input(np.zeros((5, 5), np.uint8), 96)


def test_the_same_table_is_the_same_bytes(tmp_path: Path) -> None:
    table = NameTable.load(export_tiny()[0] / NAMES)
    table.save(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (export_tiny()[0] / NAMES).read_bytes()
