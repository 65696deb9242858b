"""Trains the nano detector on drawn scenes, on a CPU or one GPU.

    python tools/train_detector.py --run runs/detector [--steps 6000] [--side 256] [--device auto]

Saves often and resumes; ends with the weights as safetensors. Then: tools/export_nano.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from detection_batches import DetectionBatch, DetectionBatches
from detection_loss import detection_loss
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader
from trainer import Trainer

from perception.detector.network import STRIDES, NanoNetwork, build_nano_detector, cell_centres
from perception.detector.tokenizer import Tokenizer
from perception.frame import RGB_MEAN, RGB_STD


def normalise(images: Tensor, device: torch.device) -> Tensor:
    """B x S x S x 3 uint8 -> B x 3 x S x S normalised, channels last."""
    pixels = images.to(device).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(n, device=device)[:, None, None] for n in (RGB_MEAN, RGB_STD))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def phrase_logits(network: NanoNetwork, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes B x Q x 4 and phrase logits B x Q x P: the mean over a phrase's tokens."""
    seen = ids > 0  # P x L
    tokens = network.text(ids)[seen]  # T x D
    boxes, regions, words = network.regions(pixels, tokens)
    phrase = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)[seen]
    member = torch.nn.functional.one_hot(phrase, len(ids)).T / seen.sum(1)[:, None]  # P x T
    return boxes, network.score(regions, member.to(words) @ words)


def centres_of(side: int, device: torch.device) -> Tensor:
    """Centres of all regions of a side x side input: Q x 2."""
    return torch.cat([cell_centres((side // s, side // s), s) for s in STRIDES]).to(device)


def step(network: NanoNetwork, batch: DetectionBatch) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch."""
    device = network.bias.device
    pixels = normalise(batch.images, device)
    with torch.autocast(device.type, torch.bfloat16):
        boxes, logits = phrase_logits(network, pixels, batch.ids.to(device))
    centres = centres_of(batch.images.shape[1], device)
    return detection_loss(boxes, logits, batch.boxes.to(device), batch.truth.to(device), centres)


def train(arguments: argparse.Namespace) -> None:
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    tokenizer = Tokenizer.load(arguments.vocabulary)
    network = build_nano_detector(len(tokenizer.ids)).train().to(device)
    network = network.to(memory_format=torch.channels_last)
    if arguments.start:
        network.load_state_dict(load_file(arguments.start))
    trainer = Trainer(
        network, arguments.run / "state.pt", steps=arguments.steps, rate=arguments.rate
    )
    # A resumed run draws other scenes than its first part did.
    seed = arguments.seed * 1000003 + trainer.step
    scenes = DetectionBatches(tokenizer, side=arguments.side, size=arguments.batch, seed=seed)
    loader = DataLoader(scenes, batch_size=None, num_workers=arguments.workers, prefetch_factor=3)
    began, first = time.monotonic(), trainer.step
    for batch in loader:
        if trainer.step >= arguments.until:
            break
        loss, parts = step(network, batch)
        trainer.update(loss)
        if trainer.step % 50 == 0:
            speed = (trainer.step - first) * arguments.batch / (time.monotonic() - began)
            figures = " ".join(f"{name} {value:.3f}" for name, value in parts.items())
            print(f"step {trainer.step} {figures} {speed:.0f} img/s", flush=True)
    trainer.save()
    weights = {name: value.contiguous() for name, value in trainer.average.state_dict().items()}
    save_file(weights, str(arguments.run / "nano-detector.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/detector"))
    parser.add_argument("--vocabulary", type=Path, default=Path("weights/nano-detector-vocab.txt"))
    parser.add_argument("--start", type=Path, default=None, help="weights to begin with")
    parser.add_argument("--steps", type=int, default=6000, help="length of the whole schedule")
    parser.add_argument("--until", type=int, default=None, help="stop here (default: at --steps)")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    arguments.until = arguments.until or arguments.steps
    train(arguments)


if __name__ == "__main__":
    main()
