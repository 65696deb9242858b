"""A tiny detector with its vocabulary, and what its tests share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import nn

from perception.detector.network import Backbone, NanoNetwork
from perception.detector.text_encoder import TextEncoder
from perception.detector.tokenizer import SPECIAL
from perception.export.nano import export_detector

SIDE, CHANNELS, WIDTH = 64, 8, 16
REGIONS = 8 * 8 + 4 * 4 + 2 * 2
TEXT, IMAGE, VOCABULARY = "nano-detector-text.onnx", "nano-detector-image.onnx", "vocab.txt"

PIECES = [*SPECIAL, "red", "cat", "car", "carpet", "face", "horse", "e", "##s", "##pet", "-"]


def build_text(vocabulary: int = len(PIECES)) -> TextEncoder:
    text = TextEncoder(vocabulary=vocabulary, width=WIDTH, depth=1, heads=2, hidden=24)
    add_noise(text)
    return text.eval()


def build_tiny() -> NanoNetwork:
    """Noise in every tensor, so that no fault hides behind a bias of zero; norms that fit it."""
    torch.manual_seed(0)
    network = NanoNetwork(
        Backbone(widths=(4, 8, 8, 16, 16), depths=(1, 1, 1, 1), channels=CHANNELS),
        build_text(),
        channels=CHANNELS,
        width=WIDTH,
        heads=2,
    )
    add_noise(network, seed=1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        # Without the right statistics the signal fades, and all pictures look the same.
        network.train()(torch.randn(8, 3, SIDE, SIDE), torch.randn(3, WIDTH))
        network.bias.fill_(-1.0)
    return network.eval()


def add_noise(module: nn.Module, *, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.2 * (torch.rand(tensor.shape, generator=generator) - 0.5)


@cache
def export_tiny() -> tuple[Path, dict[str, float]]:
    """A folder with the tiny detector's files, and how far each is from torch.

    Tracing takes seconds, so it is done once for all tests of a run.
    """
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    worst = export_detector(build_tiny(), folder, side=SIDE)
    (folder / VOCABULARY).write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder, worst
