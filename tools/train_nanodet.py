"""Trains what the detector's photograph half adds to NanoDet: words beyond COCO's, and the gate.

    python tools/pretrained_nanodet.py --out runs/nanodet.safetensors
    python tools/train_nanodet.py --start runs/nanodet.safetensors --data DIR --out runs/photo

NanoDet's own convolutions don't learn, so no photograph unlearns the 80 classes. What learns sees
single regions and cells, so the trunk looks at each view once, and what it says of some regions is
kept in ``--out`` (``photo_looks.py``); learning goes over that many times, in minutes. DIR: see
train_detector.py. The looks are saved as they come; a run that was stopped goes on.

The words' head makes each name's logit from a region by a vector for each name: a linear map of
CLIP's embedding of it, and for names that some set states a vector of their own beside it. What a
set doesn't state is unknown there. The gate learns from drawn scenes, photographs, and drawn things
on photographs.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_names import CHOSEN
from photo_looks import Looks, look_at, read_looks
from photo_sets import EVERYWHERE, SETS, all_names
from safetensors.torch import load_file, save_file
from text_teacher import clip_rows, coco_names
from torch import Tensor, nn

from perception.detectors.nano.photo_network import (
    CLASSES,
    WORD_SIZE,
    PhotoNetwork,
    build_photo_network,
)

OTHERS = 160  # names of LVIS and Objects365 a step that nothing of another name may have
UNLIKE = 0.35  # the largest likeness of such a name to those that are true
BATCH = 1024  # regions, and as many cells, a step
BALANCE = 0.5
"""The power of a set's or a name's share by which its regions are drawn less often than they are
there: 1 would draw all names alike.
"""

UNSAID, SELDOM = 0.8, 0.25
"""How sure it is that a thing isn't in a photograph whose set doesn't say so: a set's own name, and
one of those that stand in many photographs unnamed.
"""

FALSE, FALSE_SELDOM, MARGIN = 5e-4, 2e-3, 0.8
"""The share of other sets' regions that may reach the threshold by a taught name, a name of things
that stand in many photographs, and how much lower than that, in logits, each name is put.
"""

NEAR = {
    "t-shirt": "shirt", "undershirt": "tank top", "top": "blouse", "shorts": "short pants",
    "long-sleeved shirt": "shirt", "shoes": "shoe", "hoodie": "sweatshirt", "daisy": "flower",
    "dandelion": "flower", "rose": "flower", "tulip": "flower", "alpaca": "goat",
    "cardboard": "carton", "clothing": "shirt", "circuit board": "computer box",
}  # fmt: skip
"""Names that CLIP's lists lack, and what stands nearest in them."""


class Names(nn.Module):
    """The vector and the bias of each name: N x (D + 1).

    A linear map of CLIP's embedding, and a part of its own for each name that photographs teach.
    """

    def __init__(self, clip: Tensor, taught: int, size: int) -> None:
        super().__init__()
        self.clip: Tensor
        self.register_buffer("clip", clip)
        self.map = nn.Linear(clip.shape[1], size + 1, bias=False)
        self.own = nn.Parameter(torch.zeros(taught, size + 1))
        self.bias = nn.Parameter(torch.full((), -4.0))
        nn.init.normal_(self.map.weight, std=0.3)

    def forward(self) -> Tensor:
        vectors = self.map(self.clip)
        vectors = torch.cat((vectors[: len(self.own)] + self.own, vectors[len(self.own) :]))
        return torch.cat((vectors[:, :-1], vectors[:, -1:] + self.bias), dim=1)


class Learner(nn.Module):
    """What learns: the words' head, the gate, the names."""

    def __init__(self, network: PhotoNetwork, names: Names) -> None:
        super().__init__()
        self.words, self.gate, self.names = network.words, network.gate, names


def centered_clip(data: Path, names: list[str]) -> tuple[Tensor, list[str]]:
    """CLIP's embeddings of the names, centered, zero where unknown; then all others' and names."""
    rows = clip_rows(data / "names")
    mean = np.stack(list(rows.values())).mean(0)
    for name, near in NEAR.items():
        rows.setdefault(name, rows[near])
    others = [name for name in rows if name not in names]
    table = [rows[name] - mean if name in rows else np.zeros_like(mean) for name in names]
    table += [rows[name] - mean for name in others]
    stacked = np.stack(table)
    stacked /= np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-6)
    return torch.from_numpy(stacked.astype(np.float32)), others


def quality_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Quality focal loss (Li et al. 2020): sum of |target - p|^2 times the cross entropy."""
    apart = (target - logits.detach().sigmoid()).abs().square()
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * apart * weight).sum()


class Lessons:
    """The looks as arrays: for each level its regions, what is true of them, what their set states.

    names: the first of all names, those that photographs teach.
    """

    def __init__(self, looks: Looks, names: list[str]) -> None:
        place = {name: k for k, name in enumerate(names)}
        coco = set(names[:CLASSES])
        truth = torch.zeros(len(looks.truths), len(names))
        for k, words in enumerate(looks.truths):
            truth[k, [place[word] for word in words if word in place]] = 1
        known = torch.zeros(len(SETS), len(names))
        for k, name in enumerate(SETS):
            own = looks.vocabularies[name]
            for n, word in enumerate(names):
                known[k, n] = 1.0 if word in own else 0.0 if word in coco else UNSAID
                if word in EVERYWHERE and word not in own:
                    known[k, n] = SELDOM
        self.truth, self.known, self.looks = truth, known, looks
        self.shares = [self._shares(level) for level in range(3)]
        drawn = looks.drawn > 0.5
        self.cell_shares = torch.where(drawn, 1 / drawn.sum(), 1 / (~drawn).sum())

    def _shares(self, level: int) -> Tensor:
        """How often each region is drawn."""
        truths, sets = self.looks.truth_of[level].long(), self.looks.set_of[level].long()
        by_truth = torch.bincount(truths, minlength=len(self.truth)).float()
        by_set = torch.bincount(sets, minlength=len(SETS)).float()
        wanted = torch.tensor(list(SETS.values()))
        return by_truth[truths].clamp(min=1) ** -BALANCE * (wanted / by_set.clamp(min=1))[sets]

    def draw(self, level: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Regions R x C, their truth R x N, their fit R, what their sets state R x N."""
        rows = torch.multinomial(self.shares[level], count, replacement=True)
        looks = self.looks
        return (
            looks.regions[level][rows].float(),
            self.truth[looks.truth_of[level][rows].long()],
            looks.fit[level][rows].float(),
            self.known[looks.set_of[level][rows].long()],
        )


def step(learner: Learner, lessons: Lessons) -> dict[str, Tensor]:
    """The losses of one step."""
    taught = lessons.truth.shape[1]
    vectors = learner.names()
    others = taught + torch.randperm(len(vectors) - taught)[:OTHERS]
    words, rivals, total = torch.zeros(()), torch.zeros(()), torch.zeros(())
    for level in range(3):
        x, truth, fit, known = lessons.draw(level, BATCH // 3)
        regions = learner.words.levels[level](x[..., None, None])[..., 0, 0]
        logits = regions @ vectors[:taught, :-1].T + vectors[:taught, -1]
        weight = torch.where(truth > 0, torch.ones(()), known)
        words = words + quality_loss(logits, truth * fit[:, None], weight)
        rivals = rivals + _rivals(learner.names.clip, regions, vectors, others, truth)
        total = total + fit.sum()
    rows = torch.multinomial(lessons.cell_shares, BATCH, replacement=True)
    cells, means = (
        some[rows].float()[..., None, None] for some in (lessons.looks.cells, lessons.looks.means)
    )
    cells = learner.gate.compare(cells, means)[:, 0, 0]
    gate = F.binary_cross_entropy_with_logits(cells, lessons.looks.drawn[rows].float())
    total = total.clamp(min=1)
    return {"words": words / total, "rivals": 0.2 * rivals / total, "gate": gate}


def _rivals(
    clip: Tensor, regions: Tensor, vectors: Tensor, others: Tensor, truth: Tensor
) -> Tensor:
    """What regions say of names that no set has: those unlike all that are true are absent."""
    mine = clip[: truth.shape[1]]
    unplaced = truth @ (mine.abs().amax(1) == 0).float()
    taken = (truth.sum(1) > 0) & (unplaced == 0)
    logits = regions[taken] @ vectors[others, :-1].T + vectors[others, -1]
    alike = (mine @ clip[others].T).clamp(min=0)  # N x O
    nearest = (truth[taken][..., None] * alike).amax(1)
    return quality_loss(logits, torch.zeros_like(logits), (nearest < UNLIKE).float())


@torch.no_grad()
def calibrated(learner: Learner, lessons: Lessons, names: list[str]) -> Tensor:
    """The names' vectors, the biases of taught names lowered so that few other things have them."""
    vectors = learner.names().clone()
    looks = lessons.looks
    scores, sets, truths = [], [], []
    for level in range(3):
        regions = looks.regions[level].float()[..., None, None]
        found = learner.words.levels[level](regions)[..., 0, 0]
        scores.append(found @ vectors[: len(names), :-1].T + vectors[: len(names), -1])
        sets.append(looks.set_of[level])
        truths.append(lessons.truth[looks.truth_of[level].long()])
    score, of_set, truth = torch.cat(scores), torch.cat(sets), torch.cat(truths)
    highest = math.log(CHOSEN / (1 - CHOSEN)) - MARGIN
    for n, name in enumerate(names[CLASSES:], CLASSES):
        own = [k for k, one in enumerate(SETS) if name in looks.vocabularies[one]]
        other = (truth[:, n] == 0) & ~torch.isin(of_set, torch.tensor(own))
        share = FALSE_SELDOM if name in EVERYWHERE else FALSE
        last = score[other, n].topk(max(1, round(share * int(other.sum())))).values[-1]
        vectors[n, -1] += min(0.0, highest - float(last))
    return vectors


@torch.no_grad()
def known_logits(network: PhotoNetwork, looks: Looks) -> Tensor:
    """Known classes' logits of regions of COCO's photographs, R x 80: for ``make_names.py``."""
    found = []
    for level, head in enumerate(network.nanodet.heads):
        size = head.out.in_channels  # type: ignore[union-attr]
        mine = looks.set_of[level] == list(SETS).index("photos_permissive")
        hidden = looks.regions[level][mine, size : 2 * size].float()[..., None, None]
        found.append(head.read(hidden)[0][:, 0])  # type: ignore[operator]
    return torch.cat(found)


def train(arguments: argparse.Namespace) -> None:
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    network = build_photo_network()
    network.nanodet.load_state_dict(load_file(arguments.start))
    network.requires_grad_(False)
    look_at(network, arguments.data, arguments.out / "looks", rounds=arguments.rounds)
    looks = read_looks(arguments.out / "looks")
    coco = coco_names(arguments.data / "names")
    names = all_names(looks.vocabularies, coco)
    clip, others = centered_clip(arguments.data, names)
    learner = Learner(network, Names(clip, len(names), WORD_SIZE)).requires_grad_(True).train()
    lessons = Lessons(looks, names)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=arguments.rate, weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, arguments.steps)
    for number in range(1, arguments.steps + 1):
        parts = step(learner, lessons)
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimizer.step()
        rate.step()
        if number % 100 == 0:
            line = " ".join(f"{name} {value.item():.3f}" for name, value in parts.items())
            print(f"step {number} {line}", flush=True)
    vectors = calibrated(learner, lessons, names)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, str(arguments.out / "nano-detector-photo.safetensors"))
    tables = {"vectors": vectors, "regions": known_logits(network, looks)}
    save_file(tables, str(arguments.out / "names.safetensors"))
    text = [f"{name}\t{int(k < len(names))}" for k, name in enumerate([*names, *others])]
    (arguments.out / "names.txt").write_text("\n".join(text) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--start", type=Path, required=True, help="NanoDet's weights")
    parser.add_argument("--data", type=Path, required=True, help="folder with photographs")
    parser.add_argument("--out", type=Path, default=Path("runs/photo"))
    parser.add_argument("--rounds", type=int, default=1, help="views of each photograph")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
