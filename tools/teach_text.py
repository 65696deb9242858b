"""Teaches a trained nano detector more words, without a picture.

    python tools/teach_text.py --start runs/detector/nano-detector.safetensors --data DIR
        [--out runs/detector/nano-detector.safetensors] [--steps 4000]

Only the text side learns. Names that no picture showed are pulled to where CLIP and lists of
synonyms have them among those that pictures taught (``text_teacher.py``); all phrases that training
asked keep the tokens that they had. --data: see train_detector.py. On one core: a few minutes.
"""

from __future__ import annotations

import argparse
import copy
import unicodedata
from pathlib import Path

import numpy as np
import torch
from detection_batches import foreign_names
from numpy.random import Generator
from safetensors.torch import load_file, save_file
from scenes.scene import Painter
from scenes.shapes import COLORS, NOUNS, PATTERNS, SIZES
from scenes.words import Words
from text_teacher import TextTeacher, coco_names
from torch import Tensor

from perception.detectors.nano.network import TextEncoder, build_nano_detector
from perception.detectors.nano.onnx import Tokenizer

KEPT = 192  # phrases a step that keep their tokens
KEEPING = 80.0  # what a kept token's squared error weighs beside the teacher's loss


def kept_loss(text: TextEncoder, before: TextEncoder, ids: Tensor) -> Tensor:
    """How far the tokens of phrases P x L are from those that they were, squared."""
    seen = ids > 0
    with torch.no_grad():
        want = before(ids)[seen]
    return (text(ids)[seen] - want).square().mean()


class AskedPhrases:
    """The phrases that the detector's training asks: names, other names of theirs, shapes."""

    def __init__(self, data: Path) -> None:
        painter = Painter()
        glyphs = [glyph for some in painter.concepts.values() for glyph in some]
        self.names = [*painter.names, *coco_names(data / "names"), *NOUNS]
        self.names += [unicodedata.name(glyph).lower() for glyph in glyphs]
        self.names += foreign_names(painter)

    def draw(self, count: int, rng: Generator) -> list[str]:
        """Two in three are names, the others describe shapes."""
        names = rng.choice(self.names, count - count // 3).tolist()
        return names + [_shape(rng) for _ in range(count // 3)]


def _shape(rng: Generator) -> str:
    """A shape with none to three attributes."""
    size, color, pattern = (
        str(rng.choice(some)) if rng.random() < share else ""
        for some, share in ((SIZES, 0.3), (list(COLORS), 0.7), (PATTERNS, 0.4))
    )
    return str(Words(str(rng.choice(NOUNS)), size, color, pattern))


def teach(arguments: argparse.Namespace) -> dict[str, Tensor]:
    """The weights, with a text side that knows more words."""
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    tokenizer = Tokenizer.load(arguments.vocabulary)
    network = build_nano_detector(len(tokenizer.ids))
    network.load_state_dict(load_file(arguments.start))
    phrases = AskedPhrases(arguments.data)
    teacher = TextTeacher(tokenizer, arguments.data, phrases.names)
    before = copy.deepcopy(network.text).requires_grad_(False)
    if arguments.go_on:
        network.load_state_dict(load_file(arguments.go_on))
    optimizer = torch.optim.AdamW(network.text.parameters(), lr=arguments.rate, weight_decay=0)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, arguments.steps)
    sums = np.zeros(2)
    for step in range(1, arguments.steps + 1):
        ids = torch.from_numpy(tokenizer.encode_batch(phrases.draw(KEPT, rng)))
        kept, taught = kept_loss(network.text, before, ids), teacher.loss(network.text, before)
        optimizer.zero_grad()
        (KEEPING * kept + taught).backward()
        optimizer.step()
        rate.step()
        sums += kept.item(), taught.item()
        if step % 250 == 0:
            print(f"step {step} kept {sums[0] / 250:.5f} taught {sums[1] / 250:.3f}", flush=True)
            sums[:] = 0
    return network.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--start", type=Path, required=True, help="the detector's weights")
    parser.add_argument("--data", type=Path, required=True, help="folder with names/")
    parser.add_argument("--go-on", type=Path, default=None, help="weights of an earlier run")
    parser.add_argument("--out", type=Path, default=None, help="default: in place of --start")
    parser.add_argument("--vocabulary", type=Path, default=Path("weights/nano-detector-vocab.txt"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    weights = {name: value.contiguous() for name, value in teach(arguments).items()}
    save_file(weights, str(arguments.out or arguments.start))


if __name__ == "__main__":
    main()
