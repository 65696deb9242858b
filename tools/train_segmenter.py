"""Trains the nano segmenter on drawn scenes, on a CPU or one GPU.

    python tools/train_segmenter.py --out runs/segmenter [--steps 6000] [--side 256] [--data DIR]

--data names a folder with coco_train92/ (photographs under free licences, with masks) and
photos_permissive/ (the same with boxes): with it, most pictures are, or stand on, photographs.
--masked gives masks to the latter, which tools/mask_boxes.py finds.
Saves often and resumes; ends with the weights as safetensors. Then: tools/export_nano.py. On the
cores of a CPU: torchrun --nproc-per-node 2 tools/train_segmenter.py --out ... --workers 0
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from box_loss import box_loss
from clicks import deepest
from pixels import normalize
from safetensors.torch import load_file
from segmentation_batches import SegmentationBatch, SegmentationBatches, WeakBatch
from torch import Tensor
from trainer import Trainer, load_batches, training_options

from perception.predictor.refine import ColorHistogram
from perception.segmenters.sam.network import Sam, build_nano
from perception.segmenters.sam.prompt_encoder import BOTTOM_RIGHT, IN, OUT, PAD, TOP_LEFT

WEAK_WEIGHT = 0.4  # of what boxes alone teach, beside one answer to masks
COLOR_SHARE = 0.65  # how often an answer is judged with what its colors say


def mask_loss(logits: Tensor, quality: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of P prompts and the IoU of their single-mask answers.

    logits: P x 4 x h x w; quality: P x 4; truth: P x h x w in 0..1. The single-mask answer and the
    best of the three candidates learn the mask (Kirillov et al. 2023, section 3); all four learn to
    predict their IoU.
    """
    target = truth[:, None].expand_as(logits)
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    # A small thing's errors are few pixels of the picture: weigh them by its size, within limits.
    cross = cross * (0.1 / truth.mean((1, 2))[:, None]).clamp(1, 8)
    chance = logits.sigmoid()
    both, either = (chance * target).sum((2, 3)), (chance + target).sum((2, 3))
    each = 3 * cross + 1 - (2 * both + 1) / (either + 1)  # P x 4
    with torch.no_grad():
        seen, true = logits > 0, target > 0.5
        union = (seen | true).sum((2, 3)).clamp(min=1)
        iou = (seen & true).sum((2, 3)) / union  # P x 4
    guess = F.mse_loss(quality, iou)
    return each[:, 0].mean() + each[:, 1:].amin(1).mean() + guess, iou[:, 0]


def correction(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The next click, where the answer is wrong, in 0..1, P x 2; its label, P.

    logits: P x h x w, truth: P x h x w in 0..1. Half of the prompts: in the middle of the largest
    error, as an evaluation clicks; the others: anywhere in it, as people do. Where nothing is
    wrong: a place in the thing.
    """
    true = truth > 0.5
    wrong = (logits > 0) != true
    wrong = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, true)
    weight = wrong.flatten(1).float() + 1e-9
    place = torch.multinomial(weight, 1)[:, 0]  # P
    middle = torch.tensor([deepest(one) for one in wrong.cpu().numpy()], device=truth.device)
    place = torch.where(torch.rand(len(place), device=place.device) < 0.5, place, middle)
    label = torch.where(true.flatten(1).gather(1, place[:, None])[:, 0], IN, OUT)
    rows, columns = place // truth.shape[2], place % truth.shape[2]
    return (torch.stack((columns, rows), dim=1) + 0.5) / truth.shape[2], label


@dataclass(frozen=True)
class Losses:
    """What an answer costs: beside a mask, and beside a box alone."""

    mask: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = mask_loss
    box: Callable[[Tensor, Tensor, Tensor], Tensor] = box_loss

    @classmethod
    def compiled(cls) -> Losses:
        """The same in fewer passes over the logits: a step takes a fifth less time on a CPU."""
        return cls(torch.compile(mask_loss), torch.compile(box_loss))


class ColorMending:
    """What colors say of the answers to P pictures P x S x S x 3 uint8, of some of the answers."""

    def __init__(self, images: Tensor) -> None:
        half = (images.shape[2] // 2, images.shape[1] // 2)  # the logits' size
        self.palettes = [
            ColorHistogram(cv2.resize(image, half, interpolation=cv2.INTER_AREA))
            for image in images.numpy()
        ]
        self.asked = torch.rand(len(images)) < COLOR_SHARE

    def mend(self, logits: Tensor, first: int = 0) -> Tensor:
        """Logits P x 4 x h x w of the pictures from the ``first`` one on, with their colors.

        Not filtered, and with the padding among the colors: near enough to what is shown. What is
        added is constant to the gradient: the network learns what is left to say.
        """
        network = logits.detach().float().cpu().numpy()
        added = np.zeros_like(network)
        for n in np.flatnonzero(self.asked[first:].numpy()):
            for k, mask in enumerate(network[n]):
                added[n, k] = self.palettes[first + n].agreeing(mask) - mask
        return logits.float() + torch.from_numpy(added).to(logits.device)


def step(
    sam: Sam, batch: SegmentationBatch, device: torch.device, losses: Losses | None = None
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch: boxes, lone points, and each point's first correction."""
    losses = losses or Losses()
    side, count, boxes = batch.images.shape[1], len(batch.images), batch.boxes
    images = batch.images
    if batch.weak is not None:
        images = torch.cat((images, batch.weak.images))
    truth = F.avg_pool2d(batch.masks.to(device).float()[:, None], 2)[:, 0]  # the logits' size
    colors = ColorMending(batch.images)
    with torch.autocast(device.type, torch.bfloat16):
        embeddings = sam.encode(normalize(images, device))
        strong = embeddings[:count]
        coords, labels = batch.coords.to(device), batch.labels.to(device)
        first = sam.decode(sam.prepare(strong, factored=False), coords, labels)
        answers = colors.mend(first[0])
        earlier = answers[boxes:, 0].detach()
        place, label = correction(earlier, truth[boxes:])
        coords = torch.cat((coords[boxes:, :1], (place * side)[:, None]), dim=1)
        labels = torch.cat((labels[boxes:, :1], label[:, None]), dim=1)
        coords, labels = F.pad(coords, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=PAD)
        clicks = sam.decode(
            sam.prepare(strong[boxes:], earlier[:, None], factored=False), coords, labels
        )
    first_loss, first_iou = losses.mask(answers, first[1].float(), truth)
    click_loss, click_iou = losses.mask(
        colors.mend(clicks[0], boxes), clicks[1].float(), truth[boxes:]
    )
    total = first_loss + click_loss * (len(click_iou) / count)
    figures = {
        name: iou.mean().item()
        for name, iou in (
            ("box", first_iou[:boxes]),
            ("point", first_iou[boxes:]),
            ("click", click_iou),
        )
    }
    if batch.weak is not None:
        weak = weak_loss(sam, embeddings[count:], batch.weak, losses)
        total, figures["weak"] = total + WEAK_WEIGHT * weak, weak.item()
    return total, figures


def weak_loss(sam: Sam, embeddings: Tensor, batch: WeakBatch, losses: Losses) -> Tensor:
    """What the boxes alone teach, of W pictures: their single-mask answers and best candidates."""
    device = embeddings.device
    coords = batch.coords.to(device)  # W x 2 x 2
    labels = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]], device=device).expand(len(coords), -1)
    with torch.autocast(device.type, torch.bfloat16):
        logits, _ = sam.decode(sam.prepare(embeddings, factored=False), coords, labels)
    each = losses.box(
        ColorMending(batch.images).mend(logits), coords.flatten(1) / 2, batch.alike.to(device)
    )  # W x 4
    return each[:, 0].mean() + each[:, 1:].amin(1).mean()


def load_start(sam: Sam, path: Path) -> None:
    """Begins with weights, be they of a shallower network.

    The residual convolutions that they lack begin as identities: the scale of their norm is zero.
    """
    weights = load_file(path)
    lacking, unknown = sam.load_state_dict(weights, strict=False)
    if unknown:
        raise SystemExit(f"{path} has weights that the network has not: {unknown[0]}")
    for name, value in sam.state_dict().items():
        if name in lacking and ".convs." in name and name.endswith(".1.weight"):
            value.zero_()


def train(arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    sam = build_nano(arguments.side).train().to(device).to(memory_format=torch.channels_last)
    if arguments.start:
        load_start(sam, arguments.start)
    trainer = Trainer(sam, arguments.out / "state.pt", steps=arguments.steps, rate=arguments.rate)
    scenes = SegmentationBatches(
        side=arguments.side,
        size=arguments.batch // trainer.processes,
        seed=trainer.scene_seed(arguments.seed),
        data=arguments.data,
        masked=arguments.masked,
    )
    losses = Losses.compiled() if arguments.compile else Losses()
    trainer.run(
        load_batches(scenes, arguments.workers),
        lambda batch: step(sam, batch, device, losses),
        until=arguments.until or arguments.steps,
        pictures=arguments.batch,
    )
    trainer.save_weights(arguments.out / "nano-segmenter.safetensors")


def main() -> None:
    parser = training_options(__doc__ or "", out=Path("runs/segmenter"), batch=16, rate=1e-3)
    parser.add_argument("--data", type=Path, default=None, help="folder with photographs")
    parser.add_argument(
        "--masked", type=Path, default=None, help="masks of photos_permissive, by mask_boxes.py"
    )
    parser.add_argument("--start", type=Path, default=None, help="weights to begin with")
    parser.add_argument("--compile", action="store_true", help="compile the losses (needs g++)")
    arguments = parser.parse_args()
    if arguments.masked and not arguments.data:
        parser.error("--masked needs --data: it has masks for that folder's photos_permissive/")
    train(arguments)


if __name__ == "__main__":
    main()
