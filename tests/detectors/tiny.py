"""A tiny detector with its vocabulary, and what its tests share."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import nn

from perception.detectors.nano.names import COLORS, NameTable
from perception.detectors.nano.network import Backbone, NanoNetwork, TextEncoder
from perception.detectors.nano.onnx import SPECIAL
from perception.detectors.nano.photo_network import (
    DrawnGate,
    NanoDet,
    NanoDetTrunk,
    PhotoNetwork,
    WordsHead,
)
from perception.models.export import export_detector, export_photo

SIDE, CHANNELS, WIDTH = 64, 8, 16
REGIONS = 8 * 8 + 4 * 4 + 2 * 2
TEXT, IMAGE, VOCABULARY = "nano-detector-text.onnx", "nano-detector-image.onnx", "vocab.txt"
PHOTO, NAMES = "nano-detector-photo.onnx", "names.zip"
FILES = TEXT, IMAGE, VOCABULARY, PHOTO, NAMES
PHOTO_SIDE, CLASSES, WORDS = 96, 5, 3

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
        # Without the right statistics the signal fades, and all images look the same.
        network.train()(torch.randn(8, 3, SIDE, SIDE), torch.randn(3, WIDTH))
        network.bias.fill_(-1.0)
    return network.eval()


def build_tiny_photo(drawn: float = 10.0) -> PhotoNetwork:
    """drawn: the logit of every cell's being drawn, whatever it shows."""
    torch.manual_seed(2)
    trunk = NanoDetTrunk(width=4, depths=(1, 1, 1, 1), channels=8)
    nanodet = NanoDet(trunk, channels=8, classes=CLASSES, bins=4)
    words = WordsHead(8, (16, 32, 64), hidden=8, size=WORDS)
    network = PhotoNetwork(nanodet, words, DrawnGate(32 + 64, hidden=4))
    add_noise(network, seed=3)
    torch.nn.init.zeros_(network.gate.out.weight)
    torch.nn.init.constant_(network.gate.out.bias, drawn)
    return network.eval()


def tiny_names() -> NameTable:
    """Two names of one row, "cats" in the plural, and one of both; colors that mean nothing."""
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(2, CLASSES + WORDS + 2, generator=generator).half().float().numpy()
    names = {"cat": (0,), "car": (1,), "thing": (0, 1)}
    return NameTable(names, rows, torch.zeros(10, len(COLORS)).numpy())


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
    worst |= export_photo(build_tiny_photo(), folder, side=PHOTO_SIDE, vocabulary=len(PIECES))
    tiny_names().save(folder / NAMES)
    (folder / VOCABULARY).write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return folder, worst
