"""Trains the nano segmenter on drawn scenes, on a CPU or one GPU.

    python tools/train_segmenter.py --out runs/segmenter [--steps 6000] [--side 256] [--data DIR]

--data names a folder with coco_train92/ and photos_permissive/ (photographs under free licences,
the first with masks): with it, three pictures in ten are, or stand on, photographs. Saves often and
resumes; ends with the weights as safetensors. Then: tools/export_nano.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from pixels import normalise
from segmentation_batches import PROMPTS, SegmentationBatch, SegmentationBatches
from torch import Tensor
from trainer import Trainer, load_batches, training_options

from perception.segmenter.build import build_nano
from perception.segmenter.prompt_encoder import IN, OUT
from perception.segmenter.sam import Sam


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
    """The next click: a random place where the answer is wrong, in 0..1, P x 2; its label, P.

    logits: P x h x w, truth: P x h x w in 0..1. Where nothing is wrong: a place in the thing.
    """
    true = truth > 0.5
    wrong = (logits > 0) != true
    wrong = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, true)
    weight = wrong.flatten(1).float() + 1e-9
    place = torch.multinomial(weight, 1)[:, 0]  # P
    label = torch.where(true.flatten(1).gather(1, place[:, None])[:, 0], IN, OUT)
    rows, columns = place // truth.shape[2], place % truth.shape[2]
    return (torch.stack((columns, rows), dim=1) + 0.5) / truth.shape[2], label


def step(
    sam: Sam, batch: SegmentationBatch, device: torch.device
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch: boxes, lone points, and each point's first correction."""
    side = batch.images.shape[1]
    owner = torch.arange(len(batch.images), device=device).repeat_interleave(PROMPTS)
    box_truth, point_truth = (
        F.avg_pool2d(masks.to(device).float()[:, None], 2)[:, 0]
        for masks in (batch.box_masks, batch.point_masks)
    )  # P x S/2 x S/2, the size of the logits
    with torch.autocast(device.type, torch.bfloat16):
        embeddings = sam.encode(normalise(batch.images, device))
        image = sam.prepare(embeddings).rows(owner)
        coords, labels = batch.point_coords.to(device), batch.point_labels.to(device)
        boxes = sam.decode(image, batch.box_coords.to(device), batch.box_labels.to(device))
        points = sam.decode(image, coords, labels)
        earlier = points[0][:, 0].detach().float()
        place, label = correction(earlier, point_truth)
        coords = torch.cat((coords[:, :1], (place * side)[:, None], coords[:, 1:]), dim=1)
        labels = torch.cat((labels[:, :1], label[:, None], labels[:, 1:]), dim=1)
        image = sam.prepare(embeddings[owner], earlier[:, None])
        clicks = sam.decode(image, coords, labels)
    total, figures = torch.zeros((), device=device), {}
    answers = {"box": (boxes, box_truth), "point": (points, point_truth)}
    answers["click"] = clicks, point_truth
    for name, ((logits, quality), truth) in answers.items():
        loss, iou = mask_loss(logits.float(), quality.float(), truth)
        total = total + loss
        figures[name] = iou.mean().item()
    return total, figures


def train(arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    sam = build_nano(arguments.side).train().to(device).to(memory_format=torch.channels_last)
    trainer = Trainer(sam, arguments.out / "state.pt", steps=arguments.steps, rate=arguments.rate)
    scenes = SegmentationBatches(
        side=arguments.side,
        size=arguments.batch // trainer.processes,
        seed=trainer.scene_seed(arguments.seed),
        data=arguments.data,
    )
    trainer.run(
        load_batches(scenes, arguments.workers),
        lambda batch: step(sam, batch, device),
        until=arguments.until or arguments.steps,
        pictures=arguments.batch,
    )
    trainer.save_weights(arguments.out / "nano-segmenter.safetensors")


def main() -> None:
    parser = training_options(__doc__ or "", out=Path("runs/segmenter"), batch=16, rate=1e-3)
    parser.add_argument("--data", type=Path, default=None, help="folder with photographs")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
