"""Turns trained nano weights into what ships: ONNX files, safetensors and the manifest.

    python tools/make_scenes.py --out runs/validation --seed 1
    python tools/export_nano.py --runs runs --validation runs/validation [--only detector]

RUNS holds detector/nano-detector.safetensors (the drawn half), photo/ as tools/train_nanodet.py
leaves it, and segmenter/nano-segmenter.safetensors. The bias of the detector's drawn half is set on
the validation scenes, so that at the default threshold 91 of 100 labelled boxes are right; that of
the photograph half stands in its table of names (tools/make_names.py). Matrices are rounded to half
precision first, and all files hold the very same numbers in half the bytes (``halved.py``).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from halved import fold_norms, halve, store_halves
from measure_scenes import load_truth, match
from safetensors.torch import load_file, save_file
from torch import nn

from perception.checkpoints.lock import sha256_of_file
from perception.defaults import THRESHOLD
from perception.detectors.nano.network import build_nano_detector
from perception.detectors.nano.onnx import NanoDetector, Tokenizer
from perception.detectors.nano.photo_network import build_photo_network
from perception.imaging.read import read_image
from perception.models.export import export_detector, export_photo, export_segmenter
from perception.prompts.grammar import parse
from perception.segmenters.load import nano_builder

DETECTOR_SIDE, PHOTO_SIDE, SEGMENTER_SIDE = 320, 448, 320
PRECISION = 0.91
DETECTOR, SEGMENTER = "nano-detector", "nano-segmenter"
PUBLISHED = "# Published models"
"""The manifest's line from which on it is written by hand."""

FILES = {
    DETECTOR: ("text.onnx", "image.onnx", "vocab.txt", "photo.onnx", "names.zip"),
    SEGMENTER: ("encoder.onnx", "preparer.onnx", "decoder.onnx"),
}
KEPT = {
    DETECTOR: ("nano-detector.safetensors", "nano-detector-photo.safetensors"),
    SEGMENTER: ("nano-segmenter.safetensors",),
}
"""What is for training and export alone, and stays out of the package."""

TRAINED = {
    DETECTOR: "from NanoDet-g (Apache-2.0), by tools/train_nanodet.py and tools/train_detector.py",
    SEGMENTER: "tools/train_segmenter.py, on drawn scenes and freely licensed photographs",
}
EVERYTHING = {"quality": 0.6, "stability": 0.7}
"""What segment-everything asks of the segmenter's masks: few reach the limits that suit SAM."""


def threshold_of(detector: NanoDetector, folder: Path, *, precision: float) -> float:
    """The lowest score at which this share of the labelled boxes is right: recall is best there."""
    entries = load_truth(folder)["plain"]
    answers = []
    for entry in entries:
        named = [*(thing["phrase"] for thing in entry["things"]), *entry["absent"]]
        phrases = parse(list(dict.fromkeys(named)))
        (found,) = detector.detect(
            [read_image(folder / entry["file_name"])], phrases, threshold=0.02
        )
        answers.append((found, [phrases.classes[k] for k in found.class_ids]))
    for threshold in np.arange(0.02, 0.9, 0.01).tolist():
        counts = [
            match(entry, found.boxes, found.scores, labels, threshold)
            for entry, (found, labels) in zip(entries, answers, strict=True)
        ]
        right, wrong, _ = np.sum(counts, axis=0)
        if right and right / (right + wrong) >= precision:
            return float(threshold)
    raise SystemExit(f"no threshold reaches a precision of {precision} on {folder}")


def load_halved(network: nn.Module, path: Path) -> None:
    """Trained weights into a network, rounded to what ships."""
    network.load_state_dict(load_file(path))
    fold_norms(network)
    network.load_state_dict(halve(network.state_dict()))


def export_all(arguments: argparse.Namespace) -> dict[str, float]:
    """Writes every file; returns the largest difference from torch by file name."""
    worst: dict[str, float] = {}
    if arguments.only in (None, "detector"):
        worst |= _export_drawn(arguments) | _export_photo(arguments)
    if arguments.only in (None, "segmenter"):
        trained = arguments.runs / "segmenter" / f"{SEGMENTER}.safetensors"
        sam = nano_builder(load_file(trained), SEGMENTER_SIDE)()
        load_halved(sam, trained)
        worst |= export_segmenter(sam, arguments.out)
        _save(sam, arguments.out / f"{SEGMENTER}.safetensors")
    for file_name in worst:
        store_halves(arguments.out / file_name)
    return worst


def _export_drawn(arguments: argparse.Namespace) -> dict[str, float]:
    """The detector's drawn half, its bias set on validation scenes where these are given."""
    out: Path = arguments.out
    network = build_nano_detector(len(Tokenizer.load(out / f"{DETECTOR}-vocab.txt").ids))
    load_halved(network, arguments.runs / "detector" / f"{DETECTOR}.safetensors")
    worst = export_detector(network, out, side=DETECTOR_SIDE)
    if arguments.validation:
        files = (out / f"{DETECTOR}-{part}" for part in FILES[DETECTOR])
        low = threshold_of(NanoDetector(*files), arguments.validation, precision=PRECISION)
        network.bias.data += math.log(THRESHOLD / (1 - THRESHOLD)) - math.log(low / (1 - low))
        print(f"the threshold of precision {PRECISION} was {low:.2f}; it is {THRESHOLD:g} now")
        worst = export_detector(network, out, side=DETECTOR_SIDE)
    _save(network, out / f"{DETECTOR}.safetensors")
    return worst


def _export_photo(arguments: argparse.Namespace) -> dict[str, float]:
    """The detector's photograph half; its table of names is made by tools/make_names.py."""
    out: Path = arguments.out
    network = build_photo_network()
    load_halved(network, arguments.runs / "photo" / f"{DETECTOR}-photo.safetensors")
    vocabulary = len(Tokenizer.load(out / f"{DETECTOR}-vocab.txt").ids)
    worst = export_photo(network, out, side=PHOTO_SIDE, vocabulary=vocabulary)
    _save(network, out / f"{DETECTOR}-photo.safetensors")
    return worst


def _save(module: nn.Module, path: Path) -> None:
    weights = {key: value.contiguous() for key, value in halve(module.state_dict()).items()}
    save_file(weights, str(path))
    path.chmod(0o644)  # it is written for its owner alone


def published(path: Path) -> str:
    """What a manifest says of published models, which is written by hand."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    place = text.find(PUBLISHED)
    return text[place:] if place >= 0 else ""


def manifest(out: Path) -> str:
    """The text of manifest.toml on the nano models, for the files as they are."""
    lines = ["# Written by tools/export_nano.py.", ""]
    for name, parts in FILES.items():
        lines += [f"[models.{name}]", f'family = "{name}"', 'licence = "Apache-2.0"']
        if name == SEGMENTER:
            limits = ", ".join(f"{key} = {value}" for key, value in EVERYTHING.items())
            lines += [f"everything = {{ {limits} }}"]
        lines += [f'trained = "{TRAINED[name]}; see MODEL_CARD.md"', ""]
        for file_name in (*(f"{name}-{part}" for part in parts), *KEPT[name]):
            path = out / file_name
            lines += [f"[[models.{name}.files]]", f'name = "{file_name}"']
            lines += [f"bytes = {path.stat().st_size}", f'sha256 = "{sha256_of_file(path)}"', ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--validation", type=Path, default=None)
    parser.add_argument("--only", choices=["detector", "segmenter"], default=None)
    parser.add_argument("--out", type=Path, default=Path("weights"))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    for name, difference in export_all(arguments).items():
        size = (arguments.out / name).stat().st_size
        print(f"{name}: {size / 1e6:.2f} MB, within {difference:.1g} of torch")
    path = arguments.out / "manifest.toml"
    parts = [manifest(arguments.out), published(path)]
    path.write_text("\n".join(part for part in parts if part), encoding="utf-8")


if __name__ == "__main__":
    main()
