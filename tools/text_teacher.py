"""What others know about names: CLIP's embeddings, and lists of synonyms, teach the text side.

A name that no training picture shows ("kitten") is pulled to where CLIP says that it belongs, among
the names that pictures do teach ("cat"): so it finds what they find.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from perception.detectors.nano.network import TextEncoder
from perception.detectors.nano.onnx import Tokenizer

SYNONYMS = Path(__file__).parents[1] / "tests" / "data" / "synonyms.json"
"""Words to measure with (``measure_synonyms.py``); nothing may teach those called unknown."""

SHARPNESS = 0.05  # of the choice among the names that pictures teach: a temperature
SAME = 0.6  # the least likeness at which a name is pulled to the nearest of those
SAMPLE = 256  # names a step
CHOICE, PULL = 0.2, 10.0  # what the choice among all names weighs, and the pull to the nearest


class TextTeacher:
    """Names, and how much each is like every name that pictures teach.

    data: a folder with names/ (see --data); taught: the names in scenes; photographs teach COCO's.
    """

    def __init__(self, tokenizer: Tokenizer, data: Path, taught: Iterable[str]) -> None:
        rows = clip_rows(data / "names")
        taught = [*taught, *coco_names(data / "names")]
        centerd = np.stack(list(rows.values()))
        centerd -= centerd.mean(0)
        centerd /= np.linalg.norm(centerd, axis=1, keepdims=True)
        rows = dict(zip(rows, centerd, strict=True))
        anchors = [name for name in dict.fromkeys(taught) if name in rows]
        held = held_out_synonyms()
        texts = dict(rows)
        for name, synonyms in _synonyms(data / "names"):
            texts |= {word: rows[name] for word in synonyms if word not in texts}
        texts = {text: row for text, row in texts.items() if text not in held}
        alike = np.stack(list(texts.values())) @ np.stack([rows[name] for name in anchors]).T
        self.alike = torch.from_numpy(alike.astype(np.float32))  # N x A
        self.ids = torch.from_numpy(tokenizer.encode_batch(list(texts)))
        self.anchor_ids = torch.from_numpy(tokenizer.encode_batch(anchors))

    def loss(self, text: TextEncoder, taught: TextEncoder | None = None) -> Tensor:
        """How far a sample of the names is from where the teacher has them.

        taught: gives the tokens of the names that pictures teach; default: the same.
        """
        device = text.place.device
        drawn = torch.randperm(len(self.ids))[:SAMPLE]
        alike = self.alike[drawn].to(device)
        ids = self.ids[drawn].to(device)
        tokens = text(ids)  # N x L x D
        with torch.no_grad():
            anchor_ids = self.anchor_ids.to(device)
            anchors = (taught or text)(anchor_ids)
            goals = _mean(anchors, anchor_ids)
            directions = _mean(F.normalize(anchors, dim=-1), anchor_ids)
        names = _mean(F.normalize(tokens, dim=-1), ids)
        choice = F.cross_entropy(names @ directions.T / SHARPNESS, (alike / SHARPNESS).softmax(1))
        # The words of the same thing: each of their tokens is the mean token of its name.
        likeness, nearest = alike.max(1)
        same = (ids > 0) & (likeness >= SAME)[:, None]  # N x L
        apart = (tokens - goals[nearest][:, None]).square().mean(2)
        return CHOICE * choice + PULL * (apart * same).sum() / same.sum().clamp(min=1)


def _mean(tokens: Tensor, ids: Tensor) -> Tensor:
    """N x L x D -> N x D: the mean over each phrase's tokens; ids: N x L, 0 = padding."""
    seen = (ids > 0)[..., None]
    mean: Tensor = (tokens * seen).sum(1) / seen.sum(1)
    return mean


def held_out_synonyms() -> set[str]:
    """The words that nothing may teach."""
    groups = json.loads(SYNONYMS.read_text(encoding="utf-8"))
    return set(groups["unknown"])


def plain(name: str) -> str:
    """A name of the lists as people write it: "car_(automobile)" -> "car"."""
    return name.replace("_", " ").split("(")[0].strip().lower()


def clip_rows(folder: Path) -> dict[str, np.ndarray]:
    """Each name of COCO, LVIS and Objects365 with CLIP's embedding of "a NAME", 512 float32."""
    files = [(coco_names(folder), "coco_clip_a+cname.npy")]
    files.append(([row["name"] for row in _lvis(folder)], "lvis_v1_clip_a+cname.npy"))
    with (folder / "objects365_names.csv").open(encoding="utf-8") as file:
        files.append(([row[1] for row in csv.reader(file)], "o365_clip_a+cnamefix.npy"))
    rows: dict[str, np.ndarray] = {}
    for names, file_name in files:
        embeddings = np.load(folder / "clip_text" / file_name).astype(np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        for name, row in zip(names, embeddings, strict=True):
            rows.setdefault(plain(name), row)
    return rows


def coco_names(folder: Path) -> list[str]:
    """The names of COCO's 80 classes, in the order of their ids."""
    rows = _read_json(folder / "coco_panoptic_133_categories_with_colors.json")
    things = sorted((row for row in rows if row["isthing"]), key=lambda row: row["id"])
    return [row["name"] for row in things]


def _synonyms(folder: Path) -> list[tuple[str, list[str]]]:
    """Each name of LVIS and other words for it."""
    rows = _lvis(folder)
    return [(plain(row["name"]), [plain(word) for word in row["synonyms"]]) for row in rows]


def _lvis(folder: Path) -> list[dict]:
    rows = _read_json(folder / "lvis_v1_cat_info_synonyms_defs.json")
    return sorted(rows, key=lambda row: row["id"])


def _read_json(path: Path) -> list[dict]:
    rows: list[dict] = json.loads(path.read_text(encoding="utf-8"))
    return rows
