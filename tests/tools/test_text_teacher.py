from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from text_teacher import TextTeacher, plain

from perception.detectors.nano.network import NanoNetwork, build_nano_detector
from perception.detectors.nano.onnx import Tokenizer

VOCABULARY = Path(__file__).parents[2] / "weights" / "nano-detector-vocab.txt"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Names as the lists have them: a kitten is like a cat, a puppy like a dog."""
    folder = tmp_path / "names"
    (folder / "clip_text").mkdir(parents=True)
    coco = [
        {"id": 2, "name": "dog", "isthing": 1},
        {"id": 1, "name": "cat", "isthing": 1},
        {"id": 3, "name": "sky", "isthing": 0},
    ]
    lvis = [
        {"id": 1, "name": "kitten", "synonyms": ["kitten", "kitty"]},
        {"id": 2, "name": "automobile_(car)", "synonyms": ["automobile_(car)", "motor_car"]},
    ]
    text = {"coco_panoptic_133_categories_with_colors.json": coco}
    text["lvis_v1_cat_info_synonyms_defs.json"] = lvis
    for name, rows in text.items():
        (folder / name).write_text(json.dumps(rows), encoding="utf-8")
    (folder / "objects365_names.csv").write_text("1,Puppy,Puppy\n2,Ship,Ship\n", encoding="utf-8")
    eye = np.eye(6, dtype=np.float16)
    rows = {"coco_clip_a+cname": eye[:2], "lvis_v1_clip_a+cname": eye[[0, 3]] + 0.2 * eye[4]}
    rows["o365_clip_a+cnamefix"] = eye[[1, 5]] + 0.2 * eye[4]
    for name, values in rows.items():
        np.save(folder / "clip_text" / f"{name}.npy", values)
    return tmp_path


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.load(VOCABULARY)


def test_names_are_as_people_write_them() -> None:
    assert plain("car_(automobile)") == "car"
    assert plain("Other Shoes") == "other shoes"


def test_what_is_like_what(data: Path, tokenizer: Tokenizer) -> None:
    teacher = TextTeacher(tokenizer, data, ["ship"])
    names = ["cat", "dog", "kitten", "automobile", "puppy", "ship", "motor car"]
    assert torch.equal(teacher.ids, torch.from_numpy(tokenizer.encode_batch(names)))
    anchors = torch.from_numpy(tokenizer.encode_batch(["ship", "cat", "dog"]))
    assert torch.equal(teacher.anchor_ids, anchors)
    assert teacher.alike.argmax(1)[[0, 1, 2, 4, 5]].tolist() == [1, 2, 1, 2, 0]
    assert teacher.alike[2, 1] > 0.9
    assert torch.equal(teacher.alike[3], teacher.alike[6])  # a synonym is like what its name is


def test_words_that_are_to_be_measured_teach_nothing(data: Path, tokenizer: Tokenizer) -> None:
    """One of them is "kitty"."""
    ids = TextTeacher(tokenizer, data, []).ids
    kitty = torch.from_numpy(tokenizer.encode_batch(["kitty"]))[0]
    assert not (ids[:, : len(kitty)] == kitty).all(1).any()


def test_names_come_to_lie_where_the_teacher_has_them(data: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    network = build_nano_detector(len(tokenizer.ids)).train()
    teacher = TextTeacher(tokenizer, data, ["ship"])
    before = [row.detach().clone() for row in network.backbone.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss = teacher.loss(network.text)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert _likeness(network, tokenizer, "kitten", "cat") > 0.9
    assert _likeness(network, tokenizer, "kitten", "dog") < 0.7
    for old, new in zip(before, network.backbone.parameters(), strict=True):
        assert torch.equal(old, new)


def _likeness(network: NanoNetwork, tokenizer: Tokenizer, one: str, other: str) -> float:
    a, b = (
        network.text(torch.from_numpy(tokenizer.encode_batch([word])))[0].mean(0)
        for word in (one, other)
    )
    return float(torch.cosine_similarity(a, b, dim=0))
