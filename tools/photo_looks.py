"""What NanoDet's trunk says of regions and cells of many views, kept to learn from.

One file for each part of a set and round; those that are there aren't made again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from detection_loss import pair_iou
from numpy.random import Generator
from pasting import CutOut, paste
from photo_sets import SETS, SetPhoto, read_set
from pixels import normalize
from scenes.framed import Background, draw_framed
from scenes.scene import Painter, Style
from torch import Tensor
from views import draw_view, recolored

from perception.detectors.nano.photo_network import PhotoNetwork

SIDE = 352  # of a view
PART = 40  # photographs a file
SCENES = 1600  # a round, a third of them on photographs
SIDES = 320, 384, 448  # of a scene
PASTED = 0.3  # how often things of other photographs of the set are pasted onto a view
TOP, LEAST_IOU = 9, 0.5  # regions of one box: how many, and how well they fit it
HARD, RANDOM = 40, 20  # other regions of a view: with the highest scores, and any
FREE_IOU = 0.3  # with every box, of a region that is none of them
CELLS = 50  # of a view, for the gate
MIN_SIDE = 8  # pixels of a box
TAG_REGIONS, TAG_FIT = 4, 0.6
"""Of a tagged photograph: how many of its large central regions have the tag, and how surely."""

NOTHING = 0
"""The place, among the truths, of what is true of a region without a box."""


@dataclass
class Looks:
    """regions: by level R x C half; truth_of, set_of, fit: of each region its place among truths
    and sets and its IoU; truths: sets of names; cells, and the means of their images: N x C
    half, drawn: N; vocabularies: by set.
    """

    regions: list[Tensor]
    truth_of: list[Tensor]
    set_of: list[Tensor]
    fit: list[Tensor]
    truths: list[tuple[str, ...]]
    cells: Tensor
    means: Tensor
    drawn: Tensor
    vocabularies: dict[str, list[str]]


@dataclass
class _Part:
    """What one file will hold; truths as they are found."""

    regions: list[list[Tensor]] = field(default_factory=lambda: [[], [], []])
    truth_of: list[list[Tensor]] = field(default_factory=lambda: [[], [], []])
    fit: list[list[Tensor]] = field(default_factory=lambda: [[], [], []])
    truths: dict[tuple[str, ...], int] = field(default_factory=lambda: {(): NOTHING})
    cells: list[Tensor] = field(default_factory=list)
    means: list[Tensor] = field(default_factory=list)
    drawn: list[Tensor] = field(default_factory=list)


def look_at(network: PhotoNetwork, data: Path, folder: Path, *, rounds: int) -> None:
    """Looks at each photograph ``rounds`` times, and at as many scenes as there are to be."""
    cv2.setNumThreads(0)
    folder.mkdir(parents=True, exist_ok=True)
    painter = Painter()
    for k in range(rounds):
        _look_at_scenes(network, painter, data, folder, k)
        for name in SETS:
            _look_at_set(network, data, name, folder, k)


def _look_at_set(network: PhotoNetwork, data: Path, name: str, folder: Path, number: int) -> None:
    done = folder / f"{name.replace('/', '-')}-{number}.done"
    if done.exists():
        return
    one = read_set(data, name)
    cut_outs = [cut for photo in one.photos for cut in photo.cut_outs]
    for start in range(0, len(one.photos), PART):
        path = folder / f"{name.replace('/', '-')}-{number}-{start}.pt"
        if path.exists():
            continue
        rng = np.random.default_rng((3, number, start, list(SETS).index(name)))
        part = _Part()
        for photo in one.photos[start : start + PART]:
            _look(network, part, *_view(photo, cut_outs, rng), photo.tags, rng)
        _save(part, path, list(SETS).index(name), one.vocabulary)
    done.touch()


def _look_at_scenes(
    network: PhotoNetwork, painter: Painter, data: Path, folder: Path, number: int
) -> None:
    wanted = [folder / f"scenes-{number}-{start}.pt" for start in range(0, SCENES, PART)]
    if all(path.exists() for path in wanted):
        return
    grounds = [photo.image for photo in read_set(data, "photos_permissive").photos]
    for start, path in zip(range(0, SCENES, PART), wanted, strict=True):
        if not path.exists():
            rng = np.random.default_rng((4, number, start))
            part = _Part()
            for k in range(PART):
                ground = _ground(grounds) if k % 3 == 0 else None
                _look_at_scene(network, part, painter, ground, rng)
            _save(part, path, -1, ())


@torch.no_grad()
def _look_at_scene(
    network: PhotoNetwork,
    part: _Part,
    painter: Painter,
    ground: Background | None,
    rng: Generator,
) -> None:
    """Cells of a scene, all of which is drawn, or, on a photograph, only its things."""
    style = Style(things=(1, 6), longest=0.8) if ground else Style(things=(1, 9))
    side = int(rng.choice(SIDES))
    scene = draw_framed(painter, side, rng, style, ground)
    shown = (scene.ids >= 0).astype(np.float32)
    share = cv2.resize(shown, (side // 16,) * 2, interpolation=cv2.INTER_AREA)
    drawn = share if ground else np.ones_like(share)
    *_, cells = network.look(normalize(torch.from_numpy(scene.image[None]), _CPU))
    _keep_cells(part, cells[0], torch.from_numpy(drawn), rng)


def _ground(images: list[np.ndarray]) -> Background:
    """Gives one of the photographs, cut to the size that is asked for."""

    def fit(hw: tuple[int, int], rng: Generator) -> np.ndarray:
        image = images[int(rng.integers(len(images)))]
        scale = max(hw[0] / image.shape[0], hw[1] / image.shape[1])
        size = [int(np.ceil(n * scale)) for n in image.shape[1::-1]]
        return np.ascontiguousarray(cv2.resize(image, size)[: hw[0], : hw[1]])

    return fit


def _view(
    photo: SetPhoto, cut_outs: list[tuple[CutOut, tuple[str, ...]]], rng: Generator
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, ...]]]:
    """A view SIDE x SIDE x 3, its boxes and their names; at times with pasted things."""
    hw = photo.image.shape[:2]
    around = np.array([0, 0, hw[1], hw[0]], np.float32)
    box = photo.boxes[int(rng.integers(len(photo.boxes)))] if len(photo.boxes) else around
    view = draw_view(hw, box, SIDE, rng)
    boxes = np.array([view.of_box(one) for one in photo.boxes], np.float32).reshape(-1, 4)
    whole = np.array([view.of_box(one, clip=False) for one in photo.boxes]).reshape(-1, 4)
    left = _area(boxes) / np.maximum(_area(whole), 1e-6)
    kept = (left > 0.4) & ((boxes[:, 2:] - boxes[:, :2]).min(1, initial=1e9) >= MIN_SIDE)
    names = [name for name, k in zip(photo.names, kept, strict=True) if k]
    image, boxes = recolored(view.of_image(photo.image), rng), boxes[kept]
    if cut_outs and rng.random() < PASTED:
        thing, words = cut_outs[int(rng.integers(len(cut_outs)))]
        image, masks = paste(image, np.zeros((0, SIDE, SIDE), bool), [thing], rng)
        if len(masks):
            x, y, w, h = cv2.boundingRect(masks[0].astype(np.uint8))
            boxes = np.concatenate([boxes, np.array([[x, y, x + w, y + h]], np.float32)])
            names = [*names, words]
    return image, boxes, names


_CPU = torch.device("cpu")


@torch.no_grad()
def _look(
    network: PhotoNetwork,
    part: _Part,
    image: np.ndarray,
    boxes: np.ndarray,
    names: list[tuple[str, ...]],
    tags: tuple[str, ...],
    rng: Generator,
) -> None:
    """Keeps some regions and cells of one view."""
    found, logits, inputs, cells = network.look(normalize(torch.from_numpy(image[None]), _CPU))
    places = [part.truths.setdefault(words, len(part.truths)) for words in names]
    owner, fit = _assign(found[0], torch.from_numpy(boxes))
    score = logits[0].amax(1)
    if tags:
        owner = _tagged(found[0], score)
        places, fit = (
            [part.truths.setdefault(tags, len(part.truths))],
            torch.full_like(fit, TAG_FIT),
        )
    free = owner == -1
    hard = (score - 1e3 * ~free).topk(HARD).indices
    some = torch.from_numpy(rng.choice(len(score), RANDOM, replace=False))
    others = torch.cat((hard, some))
    rows = torch.cat((torch.nonzero(owner >= 0)[:, 0], others[free[others]])).unique()
    truth = torch.tensor([*places, NOTHING])[owner[rows]]
    start = 0
    for level, x in enumerate(inputs):
        flat = x[0].flatten(1).T  # h·w x C
        mine = (rows >= start) & (rows < start + len(flat))
        part.regions[level].append(flat[rows[mine] - start].half())
        part.truth_of[level].append(truth[mine].short())
        part.fit[level].append((fit[rows[mine]] * (owner[rows[mine]] >= 0)).half())
        start += len(flat)
    _keep_cells(part, cells[0], torch.zeros(cells.shape[-2:]), rng)


def _assign(found: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Which box each region answers for, Q (-1: none, -2: neither sure nor free), and its IoU."""
    if not len(boxes):
        return torch.full((len(found),), -1), torch.zeros(len(found))
    iou = pair_iou(boxes[None], found[None])[0]  # G x Q
    least = iou.topk(TOP, dim=-1).values[..., -1:].clamp(min=LEAST_IOU)
    best, owner = (iou * (iou >= least)).max(dim=0)
    owner = torch.where(best > 0, owner, torch.where(iou.amax(0) > FREE_IOU, -2, -1))
    return owner, best


def _tagged(found: Tensor, score: Tensor) -> Tensor:
    """The regions that a tag is true of, 0, all others near the middle -2: a guess."""
    center = (found[:, :2] + found[:, 2:]) / 2 / SIDE
    size = (found[:, 2:] - found[:, :2]).amin(-1) / SIDE
    middle = ((center - 0.5).abs().amax(-1) < 0.25) & (size > 0.15)
    owner = torch.where((center - 0.5).abs().amax(-1) < 0.4, -2, -1)
    owner[(score - 1e3 * ~middle).topk(TAG_REGIONS).indices] = 0
    return owner


def _keep_cells(part: _Part, cells: Tensor, drawn: Tensor, rng: Generator) -> None:
    flat = cells.flatten(1).T
    rows = torch.from_numpy(rng.choice(len(flat), CELLS, replace=False))
    part.cells.append(flat[rows].half())
    part.means.append(flat.mean(0, keepdim=True).expand(CELLS, -1).half())
    part.drawn.append(drawn.flatten()[rows].half())


def _save(part: _Part, path: Path, of_set: int, vocabulary: Collection[str]) -> None:
    state = {
        "regions": [torch.cat(x) if x else torch.zeros(0) for x in part.regions],
        "truth_of": [torch.cat(x) if x else torch.zeros(0) for x in part.truth_of],
        "fit": [torch.cat(x) if x else torch.zeros(0) for x in part.fit],
        "cells": torch.cat(part.cells),
        "means": torch.cat(part.means),
        "drawn": torch.cat(part.drawn),
        "noted": json.dumps([of_set, list(part.truths), sorted(vocabulary)]),
    }
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    print(f"{path.name}: {sum(map(len, state['regions']))} regions", flush=True)


def read_looks(folder: Path) -> Looks:
    """All that was kept in a folder."""
    parts = list(_read_parts(folder))
    truths: dict[tuple[str, ...], int] = {(): NOTHING}
    regions, truth_of, set_of, fit = ([[], [], []] for _ in range(4))
    vocabularies: dict[str, list[str]] = {name: [] for name in SETS}
    for state, of_set, own, vocabulary in parts:
        if of_set < 0:
            continue
        vocabularies[list(SETS)[of_set]] = vocabulary
        places = torch.tensor([truths.setdefault(tuple(words), len(truths)) for words in own])
        for level in range(3):
            regions[level].append(state["regions"][level])
            truth_of[level].append(places[state["truth_of"][level].long()])
            set_of[level].append(torch.full((len(regions[level][-1]),), of_set))
            fit[level].append(state["fit"][level])
    return Looks(
        *([torch.cat(x) for x in some] for some in (regions, truth_of, set_of, fit)),
        list(truths),
        torch.cat([state["cells"] for state, *_ in parts]),
        torch.cat([state["means"] for state, *_ in parts]),
        torch.cat([state["drawn"] for state, *_ in parts]),
        vocabularies,
    )


def _read_parts(folder: Path) -> Iterator[tuple[dict, int, list[list[str]], list[str]]]:
    for path in sorted(folder.glob("*.pt")):
        state = torch.load(path, weights_only=True)
        of_set, own, vocabulary = json.loads(state["noted"])
        yield state, of_set, own, vocabulary


def _area(boxes: np.ndarray) -> np.ndarray:
    area: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return area
