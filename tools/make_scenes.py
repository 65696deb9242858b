"""Draws the scenes that measure the nano models: pictures with their truth, kept from training.

    python tools/make_scenes.py [--out tests/data/scenes]

Three sets: `plain`, `combinations` (colors of shapes that training never drew) and `transforms`
(a perspective that training never drew). Measure with tools/measure_scenes.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image
from scenes.questions import question
from scenes.scene import Painter, Scene, Style

from perception.ops.masks import mask_to_rle

SETS = {
    "plain": (200, Style()),
    "combinations": (40, Style(held_out_pairs=True, shape_share=0.8)),
    "transforms": (40, Style(held_out_transforms=True)),
}
SIZES = ((240, 320), (320, 240), (288, 384), (320, 320), (270, 360))


def draw_set(painter: Painter, name: str, folder: Path, seed: int) -> list[dict[str, object]]:
    """Draws one set's pictures into ``folder`` and returns the truth about them."""
    count, style = SETS[name]
    entries = []
    for index in range(count):
        rng = np.random.default_rng((3, seed, *name.encode(), index))
        scene = painter.draw(SIZES[int(rng.integers(len(SIZES)))], rng, style)
        file_name = f"{name}-{index:03d}.webp"
        Image.fromarray(scene.image).save(folder / file_name, quality=66, method=6)
        entries.append({"file_name": file_name, **_truth(painter, scene, rng)})
    return entries


def _truth(painter: Painter, scene: Scene, rng: Generator) -> dict[str, object]:
    asked = question(scene.things, painter.names, rng)
    things = [
        {"phrase": phrase, "rle": mask_to_rle(scene.mask(k)).counts}
        for k, phrase in enumerate(asked.phrase_of)
    ]
    return {"image_hw": scene.ids.shape, "things": things, "absent": asked.absent}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("tests/data/scenes"))
    parser.add_argument("--seed", type=int, default=0, help="other scenes, to choose settings on")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    painter = Painter()
    truth = {name: draw_set(painter, name, arguments.out, arguments.seed) for name in SETS}
    text = json.dumps(truth, separators=(",", ":"), ensure_ascii=False)
    text = text.replace('{"file', '\n{"file')  # a line for each scene
    (arguments.out / "truth.json").write_text(text + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{arguments.out}: {sum(map(len, truth.values()))} scenes, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
