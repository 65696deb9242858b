"""Photographs for the words that COCO doesn't have: boxes, tags, and what each set states.

A set states its own names only: what it doesn't name is unknown there, not absent.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pasting import CutOut, cut_out
from pycocotools.coco import COCO
from text_teacher import coco_names

from perception.imaging.read import read_image

SETS = {
    "photos_permissive": 0.24,
    "coco_train92": 0.06,
    "photos_more/clothing": 0.2,
    "photos_more/flowers": 0.1,
    "photos_more/trashnet": 0.02,
    "photos_more/alpaca": 0.08,
    "photos_more/microcontrollers": 0.06,
    "photos_more/bottles_cups": 0.03,
    "photos_more/openimages5": 0.03,
    "photos_more/dice": 0.04,
    "photos_more/chess": 0.06,
    "photos_more/grocery": 0.08,
}
"""How often a photograph is of which set."""

ABOVE = {
    "clothing": (
        "t-shirt", "skirt", "undershirt", "top", "shorts", "shirt", "long-sleeved shirt", "shoes",
        "trousers", "baby bodysuit", "blouse", "hat", "jacket", "blazer", "dress", "hoodie",
        "polo shirt",
    ),
    "flower": ("dandelion", "rose", "daisy", "sunflower", "tulip"),
    "chess piece": (
        "chess pawn", "chess knight", "chess rook", "chess bishop", "chess king", "chess queen",
    ),
    "shirt": ("t-shirt", "long-sleeved shirt", "polo shirt", "undershirt", "blouse"),
    "jacket": ("blazer",),
}  # fmt: skip
"""Names that are true of what other names are true of."""

EVERYWHERE = {"clothing", "flower", "shirt", "shoes", "trousers", "hat", "jacket", "top", "dress",
              "paper", "trash", "metal object", "cardboard", "shorts", "skirt", "t-shirt", "rose",
              "long-sleeved shirt", "undershirt", "blouse", "hoodie", "polo shirt", "blazer",
              "baby bodysuit"}  # fmt: skip
"""Names of things that stand in many photographs of other sets, unnamed."""

SPELLED = {"carrots": "carrot", "pepper": "bell pepper", "satsumas": "tangerine"}
FINE = ("bell pepper", "potato", "mushroom", "onion")
"""Of the tags: coarse names spelled otherwise, and those whose kinds are names of their own."""

MOST = 240
"""Photographs of a set that teach, evenly chosen: more of the same kind of ground add little."""

HELD_OUT = 6
"""Every sixth photograph teaches nothing: what is chosen is chosen on these."""


@dataclass(frozen=True)
class SetPhoto:
    """image: H x W x 3 uint8; boxes: N x 4 xyxy; names: of each box, all that are true of it;
    tags: names true of the photograph whose boxes aren't known; cut_outs: its things, to paste.
    """

    image: np.ndarray
    boxes: np.ndarray
    names: list[tuple[str, ...]]
    tags: tuple[str, ...] = ()
    cut_outs: list[tuple[CutOut, tuple[str, ...]]] = field(default_factory=list)


@dataclass(frozen=True)
class PhotoSet:
    """One folder. vocabulary: the names that it states."""

    name: str
    photos: list[SetPhoto]
    vocabulary: frozenset[str]


def read_set(data: Path, name: str, *, held_out: bool = False) -> PhotoSet:
    """One of ``SETS``; held_out: the photographs that teach nothing, instead of the others."""
    coco = coco_names(data / "names")
    return _read(data, name, frozenset(coco), held_out)


def chosen(rows: list[dict], *, held_out: bool) -> list[dict]:
    """The photographs of a set that teach, or those that teach nothing, by their names' order."""
    rows = sorted(rows, key=lambda row: row["file_name"])
    rows = [row for number, row in enumerate(rows) if (number % HELD_OUT == 0) == held_out]
    return rows[:: -(-len(rows) // MOST)]


def all_names(vocabularies: Mapping[str, Collection[str]], coco: list[str]) -> list[str]:
    """COCO's names, then the sets' own, sorted."""
    own = set().union(*vocabularies.values())
    return [*coco, *sorted(own - set(coco))]


def _read(data: Path, name: str, coco: frozenset[str], held_out: bool) -> PhotoSet:
    folder = data / name
    if (folder / "tags.json").is_file():
        return _read_tags(folder, name, coco, held_out)
    file = "instances.json" if (folder / "instances.json").is_file() else "boxes.json"
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO(str(folder / file))
    photos = []
    for entry in chosen(list(index.imgs.values()), held_out=held_out):
        rows = index.imgToAnns[entry["id"]]
        if any(row.get("iscrowd") for row in rows):
            continue
        photos.append(_photo(folder, index, entry, rows, cut="more" in name))
    vocabulary = frozenset(with_above(row["name"]) for row in index.cats.values())
    names = frozenset(word for words in vocabulary for word in words)
    return PhotoSet(name, photos, names | (coco if not name.startswith("photos_more") else set()))


def _photo(folder: Path, index: COCO, entry: dict, rows: list[dict], *, cut: bool) -> SetPhoto:
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    names = [with_above(index.cats[row["category_id"]]["name"]) for row in rows]
    image = read_image(folder / "images" / entry["file_name"])
    cut_outs = []
    if cut:
        for row, words in zip(rows, names, strict=True):
            thing = cut_out(image, index.annToMask(row)) if row.get("segmentation") else None
            if thing is not None:
                cut_outs.append((thing, words))
    return SetPhoto(image, boxes, names, cut_outs=cut_outs)


def _read_tags(folder: Path, name: str, coco: frozenset[str], held_out: bool) -> PhotoSet:
    rows = json.loads((folder / "tags.json").read_text(encoding="utf-8"))["images"]
    photos = [
        SetPhoto(
            read_image(folder / "images" / row["file_name"]),
            np.zeros((0, 4), np.float32),
            [],
            tags=_tags(row),
        )
        for row in chosen(rows, held_out=held_out)
    ]
    words = {word for row in rows for word in _tags(row)}
    return PhotoSet(name, photos, frozenset(words - coco))


def _tags(row: dict) -> tuple[str, ...]:
    """The coarse name, and the fine one where it says what the coarse one says: no brands."""
    fine, coarse = (row[key].replace("-", " ").strip().lower() for key in ("name", "coarse"))
    coarse = SPELLED.get(coarse, coarse)
    return (coarse, fine) if fine.endswith(f" {coarse}") and coarse in FINE else (coarse,)


def with_above(name: str) -> tuple[str, ...]:
    """A name and those that are true of what it is true of."""
    return (name, *(word for word, below in ABOVE.items() if name in below))
