r"""Teaches nano by a published segmenter, on any folder of images without labels.

    python tools/distil_segmenter.py IMAGES --teacher sam-vit-h --start runs/start.safetensors \\
      --out runs/distilled [--features 2000] [--steps 20000] [--device cuda]

EdgeSAM's two phases (Zhou et al. 2023): first the image encoder learns to give the teacher's
features (--features steps), then prompts are put in the loop: both answer a box or a click, the
teacher's masks are the truth, and the next click is where the two disagree, for both. The teacher
is any segmenter that ``perception.load`` opens, by name, file or folder. Saves often and resumes;
ends with weights as safetensors, which tools/train_nano2.py and tools/export_nano.py take.
docs/training.md says what it takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from click_rounds import OBEDIENCE, Clicks, answer_loss, correction, obedience_loss
from numpy.random import Generator
from pixels import normalize
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import IterableDataset
from trainer import Trainer, load_batches, training_options
from views import recolored

from perception import load
from perception.imaging.read import read_image
from perception.ops.masks import mask_to_box
from perception.segmenters.protocol import Segmenter
from perception.segmenters.sam.network import Sam, build_nano2
from perception.segmenters.sam.prompt_encoder import BOTTOM_RIGHT, IN, PAD, TOP_LEFT
from perception.types import BoolArray, Embedding, FloatArray, Prompt

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
LEAST_SHARE, MOST_SHARE = 0.002, 0.9  # of an image that a teacher's mask covers, to be asked for
TRIES = 8  # clicks on an image until the teacher's answer is worth learning
BOX_SHARE = 0.5  # of the prompts: by the box of the teacher's mask; the others, by the click
ROUNDS = 3  # further clicks, at most


class Crops(IterableDataset[Tensor]):
    """Endless batches of square crops of the images in a folder, B x S x S x 3 uint8."""

    def __init__(self, folder: Path, *, side: int, size: int, seed: int) -> None:
        self.paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not self.paths:
            raise SystemExit(f"{folder}: no images in there; these count: {', '.join(SUFFIXES)}")
        self.side, self.size, self.seed = side, size, seed

    def __iter__(self) -> Iterator[Tensor]:
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((3, self.seed, info.id if info else 0))
        while True:
            yield torch.from_numpy(np.stack([self._crop(rng) for _ in range(self.size)]))

    def _crop(self, rng: Generator) -> np.ndarray:
        image = read_image(self.paths[int(rng.integers(len(self.paths)))])
        height, width = image.shape[:2]
        part = int(min(height, width) * rng.uniform(0.4, 1.0)) or 1
        y, x = int(rng.integers(height - part + 1)), int(rng.integers(width - part + 1))
        crop = image[y : y + part, x : x + part, :][:, :: int(rng.choice([-1, 1]))]
        how = cv2.INTER_AREA if part > self.side else cv2.INTER_LINEAR
        crop = cv2.resize(np.ascontiguousarray(crop), (self.side, self.side), interpolation=how)
        return recolored(crop, rng)


class Student(nn.Module):
    """The network that learns, with what turns its embedding into the teacher's features."""

    def __init__(self, sam: Sam, teacher_channels: int) -> None:
        super().__init__()
        self.sam = sam
        channels, _, _ = sam.embedding_shape
        self.to_teacher = nn.Conv2d(channels, teacher_channels, 1)


def features_of(embedding: Embedding) -> Tensor:
    """The features C x h x w of a teacher's embedding; of several levels the one of most channels.

    Raises SystemExit for an embedding without any such.
    """
    levels = embedding.features
    levels = levels if isinstance(levels, tuple | list) else (levels,)
    maps = [torch.as_tensor(np.asarray(level)).float().squeeze() for level in levels]
    maps = [level for level in maps if level.ndim == 3]
    if not maps:
        raise SystemExit(f"{embedding.model}: its embedding has no map C x h x w: --features 0")
    return max(maps, key=len)


def feature_loss(student: Student, images: Tensor, wanted: Tensor) -> Tensor:
    """How far the student's features are from the teacher's B x C x h x w, on the finer's grid."""
    device = next(student.parameters()).device
    have = student.to_teacher(student.sam.encode(normalize(images, device)))
    wanted = wanted.to(device)
    size = max(have.shape[2:], wanted.shape[2:])
    have, wanted = (
        F.interpolate(x, size, mode="bilinear", align_corners=False) for x in (have, wanted)
    )
    return F.mse_loss(have, wanted)


@dataclass
class Asked:
    """What the teacher answered: one prompt an image. coords B x 2 x 2, labels B x 2 as the network
    takes them; masks B x S x S bool; clicks: the click each began with.
    """

    coords: Tensor
    labels: Tensor
    masks: Tensor
    clicks: Clicks


def ask_teacher(
    teacher: Segmenter, images: Tensor, embeddings: list[Embedding], rng: Generator
) -> Asked:
    """A click on each of B images S x S x 3 that the teacher answers with a mask of some size."""
    side = images.shape[1]
    coords, labels, masks, places = [], [], [], []
    for embedding in embeddings:
        mask, click = _worth_learning(teacher, embedding, side, rng)
        masks.append(mask)
        places.append(click)
        if rng.random() < BOX_SHARE:
            coords.append(mask_to_box(mask).reshape(2, 2))
            labels.append((TOP_LEFT, BOTTOM_RIGHT))
        else:
            coords.append(np.array([click, (0, 0)]))
            labels.append((IN, PAD))
    clicks = Clicks(
        torch.tensor(np.stack(places)[:, None] / side, dtype=torch.float32),
        torch.full((len(places), 1), IN),
    )
    return Asked(
        torch.tensor(np.stack(coords), dtype=torch.float32),
        torch.tensor(labels),
        torch.from_numpy(np.stack(masks)),
        clicks,
    )


def _worth_learning(
    teacher: Segmenter, embedding: Embedding, side: int, rng: Generator
) -> tuple[BoolArray, FloatArray]:
    """A mask S x S and the click (x, y) for it; after ``TRIES`` clicks the last one's, or a square
    around it where that is empty.
    """
    for _ in range(TRIES):
        click = rng.uniform(0, side, 2).astype(np.float32)
        found = teacher.decode(embedding, Prompt(points=click[None]))
        mask = found.masks(rng.integers(1, 4, 1))[0]
        if LEAST_SHARE < mask.mean() < MOST_SHARE:
            return mask, click
    x, y = click.astype(int)
    if not mask.any():
        mask[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = True
    return mask, click


def teacher_again(
    teacher: Segmenter, embeddings: list[Embedding], clicks: Clicks, side: int
) -> Tensor:
    """The teacher's single masks for the clicks so far, B x S x S bool."""
    masks = []
    for n, embedding in enumerate(embeddings):
        points = (clicks.places[n] * side).clamp(0, side - 0.01).numpy()
        prompt = Prompt(points=points, point_labels=clicks.labels[n].numpy())
        masks.append(teacher.decode(embedding, prompt).masks()[0])
    return torch.from_numpy(np.stack(masks))


def prompt_loss(
    sam: Sam, teacher: Segmenter, images: Tensor, rng: Generator
) -> tuple[Tensor, dict[str, float]]:
    """What one batch of prompts costs, each corrected where teacher and student disagree."""
    side = images.shape[1]
    device = next(sam.parameters()).device
    embeddings = [teacher.encode(image) for image in images.numpy()]
    asked = ask_teacher(teacher, images, embeddings, rng)
    truth = _cells(asked.masks).to(device)
    features = sam.encode(normalize(images, device))
    image = sam.prepare(features, factored=False)
    logits, quality = sam.decode(image, asked.coords.to(device), asked.labels.to(device))
    total, iou = answer_loss(logits, quality, truth)
    first, clicks = iou[:, 0].mean().item(), asked.clicks
    for _ in range(int(rng.integers(0, ROUNDS + 1))):
        earlier = logits[:, 0].detach()
        places, labels = correction(earlier, truth)
        clicks = clicks.plus(places.cpu(), labels.cpu())
        truth = _cells(teacher_again(teacher, embeddings, clicks, side)).to(device)
        there = Clicks(clicks.places.to(device), clicks.labels.to(device))
        image = sam.prepare(features, earlier[:, None], factored=False)
        logits, quality = sam.decode(image, *there.prompt(side))
        loss, iou = answer_loss(logits, quality, truth)
        total = total + loss + OBEDIENCE * obedience_loss(logits, there, truth)
    return total, {"first": first, "last": iou[:, 0].mean().item()}


def _cells(masks: Tensor) -> Tensor:
    """Masks B x S x S as the share of each of the logits' cells."""
    return F.avg_pool2d(masks.float()[:, None], 2)[:, 0]


def distil(arguments: argparse.Namespace) -> None:
    """Both phases, one after the other; each saves its own state."""
    if not arguments.start.is_file():
        raise SystemExit(f"{arguments.start}: no such file: tools/pretrained.py writes it")
    torch.manual_seed(arguments.seed)
    teacher = load(arguments.teacher, device=arguments.device).segmenter
    sam = build_nano2(arguments.side)
    sam.load_state_dict(load_file(arguments.start))
    crops = Crops(arguments.images, side=arguments.side, size=arguments.batch, seed=arguments.seed)
    batches = load_batches(crops, arguments.workers)
    if arguments.features:
        sam = _features_phase(sam, teacher, batches, arguments)
    sam = sam.train().to(arguments.device)
    trainer = Trainer(sam, arguments.out / "prompts.pt", steps=arguments.steps, rate=arguments.rate)
    rng = np.random.default_rng(trainer.scene_seed(arguments.seed))
    trainer.run(
        batches,
        lambda images: prompt_loss(sam, teacher, images, rng),
        until=arguments.until or arguments.steps,
        pictures=arguments.batch,
    )
    trainer.save_weights(arguments.out / "nano-segmenter.safetensors")


def _features_phase(
    sam: Sam, teacher: Segmenter, batches: object, arguments: argparse.Namespace
) -> Sam:
    """The network after the first phase."""
    blank = np.zeros((arguments.side, arguments.side, 3), np.uint8)
    student = Student(sam, len(features_of(teacher.encode(blank)))).train().to(arguments.device)
    trainer = Trainer(
        student, arguments.out / "features.pt", steps=arguments.features, rate=arguments.rate
    )

    def loss(images: Tensor) -> tuple[Tensor, dict[str, float]]:
        wanted = torch.stack([features_of(teacher.encode(image)) for image in images.numpy()])
        return feature_loss(student, images, wanted), {}

    trainer.run(batches, loss, until=arguments.features, pictures=arguments.batch)  # type: ignore[arg-type]
    weights = {name: v.contiguous() for name, v in trainer.average.sam.state_dict().items()}  # type: ignore[union-attr, operator]
    save_file(weights, str(arguments.out / "features.safetensors"))
    sam.load_state_dict(weights)
    return sam


def main() -> None:
    parser = training_options(__doc__ or "", out=Path("runs/distilled"), batch=8, rate=3e-4)
    parser.add_argument("images", type=Path, help="folder with images, of any depth")
    parser.add_argument("--teacher", required=True, help="name, file or folder of a segmenter")
    parser.add_argument("--start", type=Path, required=True, help="weights, by pretrained.py")
    parser.add_argument("--features", type=int, default=2000, help="steps of the first phase; or 0")
    distil(parser.parse_args())


if __name__ == "__main__":
    main()
