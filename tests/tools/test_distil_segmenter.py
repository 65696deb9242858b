"""Distillation, with a tiny random teacher: the student comes to say what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import distil_segmenter
import numpy as np
import pytest
import torch
from distil_segmenter import (
    Crops,
    Student,
    ask_teacher,
    feature_loss,
    features_of,
    prompt_loss,
    teacher_again,
)
from PIL import Image
from segmenters.tiny import CHANNELS, SIDE, add_noise, build_tiny

from perception.segmenters.sam.network import build_nano2
from perception.segmenters.sam.prompt_encoder import IN, TOP_LEFT
from perception.segmenters.torch_segmenter import TorchSegmenter


@pytest.fixture
def teacher() -> TorchSegmenter:
    torch.manual_seed(0)
    sam = build_tiny()
    add_noise(sam)
    return TorchSegmenter(sam, name="tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "deep").mkdir()
    for name, size in (("a.png", (90, 70)), ("deep/b.JPG", (40, 200))):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize(size[::-1]).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_crops_are_of_all_images_in_the_folder(folder: Path) -> None:
    crops = Crops(folder, side=SIDE, size=3, seed=0)
    assert [path.name for path in crops.paths] == ["a.png", "b.JPG"]
    first, second = (next(iter(crops)) for _ in range(2))
    assert first.shape == (3, SIDE, SIDE, 3)
    assert torch.equal(first, second)
    with pytest.raises(SystemExit, match=r"no images in there"):
        Crops(folder / "deep" / "none", side=SIDE, size=3, seed=0)


def images_of(folder: Path) -> torch.Tensor:
    return next(iter(Crops(folder, side=SIDE, size=2, seed=1)))


def test_features_come_nearer_to_the_teacher_s(folder: Path, teacher: TorchSegmenter) -> None:
    images = images_of(folder)
    wanted = torch.stack([features_of(teacher.encode(image)) for image in images.numpy()])
    assert wanted.shape == (2, CHANNELS, 8, 8)
    student = Student(build_nano2(SIDE), CHANNELS).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        loss = feature_loss(student, images, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_the_teacher_s_mask_belongs_to_its_prompt(folder: Path, teacher: TorchSegmenter) -> None:
    images = images_of(folder)
    embeddings = [teacher.encode(image) for image in images.numpy()]
    kinds = set()
    for seed in range(6):
        asked = ask_teacher(teacher, images, embeddings, np.random.default_rng(seed))
        assert asked.masks.shape == (2, SIDE, SIDE)
        assert asked.masks.any(2).any(1).all()
        for coords, labels, mask in zip(asked.coords, asked.labels, asked.masks, strict=True):
            kinds.add(labels[0].item())
            if labels[0] == TOP_LEFT:
                rows, columns = mask.nonzero().unbind(1)
                assert coords[0].tolist() == [columns.min(), rows.min()]
                assert coords[1].tolist() == [columns.max() + 1, rows.max() + 1]
        again = teacher_again(teacher, embeddings, asked.clicks, SIDE)
        assert again.shape == asked.masks.shape
    assert kinds == {IN, TOP_LEFT}


@pytest.mark.slow
def test_prompts_in_the_loop_teach(folder: Path, teacher: TorchSegmenter) -> None:
    torch.manual_seed(0)
    images, student = images_of(folder), build_nano2(SIDE).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.001)
    losses = []
    for _ in range(16):
        loss, figures = prompt_loss(student, teacher, images, np.random.default_rng(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.85 * losses[0]
    assert set(figures) == {"first", "last"}


def test_a_start_that_is_missing_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [str(folder), "--teacher", "nano", "--start", str(folder / "no.safetensors")]
    monkeypatch.setattr(sys, "argv", ["distil_segmenter.py", *words])
    with pytest.raises(SystemExit, match=r"no\.safetensors: no such file.*pretrained\.py"):
        distil_segmenter.main()
