"""Trains the nano detector on drawn scenes and photographs, on a CPU or one GPU.

    python tools/train_detector.py --out runs/detector [--steps 6000] [--side 256] [--device cuda]

--data names a folder with coco_train92/ and photos_permissive/, photographs under free licences
with boxes of 80 classes, and names/, what CLIP knows of names; without it there are scenes alone.
Saves often and resumes; ends with the weights as safetensors. Then: tools/export_nano.py. On the
cores of a CPU: torchrun --nproc-per-node 2 tools/train_detector.py --out ... --workers 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from detection_batches import DetectionBatch, DetectionBatches
from detection_loss import detection_loss
from pixels import normalize
from safetensors.torch import load_file
from scenes.scene import Painter
from text_teacher import TextTeacher
from torch import Tensor
from trainer import Trainer, load_batches, training_options

from perception.detectors.nano.network import (
    STRIDES,
    NanoNetwork,
    build_nano_detector,
    cell_centers,
)
from perception.detectors.nano.onnx import Tokenizer


def phrase_logits(network: NanoNetwork, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes B x Q x 4 and phrase logits B x Q x P: the mean over a phrase's tokens."""
    seen = ids > 0  # P x L
    tokens = network.text(ids)[seen]  # T x D
    boxes, regions, words = network.regions(pixels, tokens)
    phrase = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)[seen]
    member = torch.nn.functional.one_hot(phrase, len(ids)).T / seen.sum(1)[:, None]  # P x T
    return boxes, network.score(regions, member.to(words) @ words)


def centers_of(side: int, device: torch.device) -> Tensor:
    """Centres of all regions of a side x side input: Q x 2."""
    return torch.cat([cell_centers((side // s, side // s), s) for s in STRIDES]).to(device)


def step(
    network: NanoNetwork, batch: DetectionBatch, teacher: TextTeacher | None = None
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch, and of a sample of the teacher's names."""
    device = network.bias.device
    pixels = normalize(batch.images, device)
    with torch.autocast(device.type, torch.bfloat16):
        boxes, logits = phrase_logits(network, pixels, batch.ids.to(device))
    centers = centers_of(batch.images.shape[1], device)
    loss, figures = detection_loss(
        boxes,
        logits,
        batch.boxes.to(device),
        batch.truth.to(device),
        centers,
        None if batch.known is None else batch.known.to(device),
    )
    if teacher is not None:
        text = teacher.loss(network.text)
        loss, figures["text"] = loss + text, text.item()
    return loss, figures


def train(arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    tokenizer = Tokenizer.load(arguments.vocabulary)
    network = build_nano_detector(len(tokenizer.ids)).train().to(device)
    network = network.to(memory_format=torch.channels_last)
    if arguments.start:
        network.load_state_dict(load_file(arguments.start))
    trainer = Trainer(
        network, arguments.out / "state.pt", steps=arguments.steps, rate=arguments.rate
    )
    seed = trainer.scene_seed(arguments.seed)
    scenes = DetectionBatches(
        tokenizer,
        side=arguments.side,
        size=arguments.batch // trainer.processes,
        seed=seed,
        data=arguments.data,
    )
    teacher = None
    if arguments.data:
        teacher = TextTeacher(tokenizer, arguments.data, Painter().names)
    trainer.run(
        load_batches(scenes, arguments.workers),
        lambda batch: step(network, batch, teacher),
        until=arguments.until or arguments.steps,
        pictures=arguments.batch,
    )
    trainer.save_weights(arguments.out / "nano-detector.safetensors")


def main() -> None:
    parser = training_options(__doc__ or "", out=Path("runs/detector"), batch=32, rate=2e-3)
    parser.add_argument("--vocabulary", type=Path, default=Path("weights/nano-detector-vocab.txt"))
    parser.add_argument("--start", type=Path, default=None, help="weights to begin with")
    parser.add_argument("--data", type=Path, default=None, help="folder with photographs")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
