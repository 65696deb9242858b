"""Draws the pictures of the README and of docs: what the models answer to the sample pictures.

    python tools/draw_results.py [--out demos]

Draw them again whenever the weights or the sample pictures change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import perception as pc

ASKED = {
    "street": "vehicle: car | bus | ambulance, house, church, bicycle, traffic light",
    "shapes": "red star. striped circle. green square. heart. ring. arrow. crescent",
    "park": "dog. cat. tent. kite. bicycle. fir tree. cloud. soccer ball",
    "breakfast": "apple. banana. croissant. strawberry. pancakes. coffee cup. key",
}
HERO_THRESHOLD = 0.4
STREET = "vehicle: car | bus | ambulance, bicycle"
THRESHOLDS = (0.05, 0.3, 0.95)
TILES = (None, 640)


def grid(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Pictures of one size side by side, row by row, with a thin white gap."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * (width + 8) - 8, rows * (height + 8) - 8), "white")
    for n, picture in enumerate(pictures):
        canvas.paste(picture, (n % columns * (width + 8), n // columns * (height + 8)))
    return canvas


def sheet(picture: Image.Image) -> Image.Image:
    """A picture three times as large each way, made of the one given; every second is mirrored."""
    width, height = picture.size
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas = Image.new("RGB", (3 * width, 3 * height))
    for n in range(9):
        canvas.paste((picture, mirrored)[n % 3 % 2], (n % 3 * width, n // 3 * height))
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("demos"))
    out = parser.parse_args().out
    model = pc.load("nano")
    overlays = [
        model(out / "images" / f"{name}.jpg", text, threshold=HERO_THRESHOLD).overlay()
        for name, text in ASKED.items()
    ]
    grid(overlays, 2).save(out / "result.jpg", quality=82)
    picture = out / "images" / "street.jpg"
    steps = [model(picture, STREET, threshold=threshold).overlay() for threshold in THRESHOLDS]
    small = [step.resize((420, 315), Image.Resampling.LANCZOS) for step in steps]
    grid(small, 3).save(out / "threshold.jpg", quality=82)
    large = sheet(Image.open(out / "images" / "breakfast.jpg"))
    both = [model(large, ASKED["breakfast"], tile=tile).overlay(labels=False) for tile in TILES]
    third = (large.width // 3, large.height // 3)
    small = [one.resize(third, Image.Resampling.LANCZOS) for one in both]
    grid(small, 2).save(out / "tiles.jpg", quality=82)
    for name in ("result.jpg", "threshold.jpg", "tiles.jpg"):
        print(f"{out / name}: {(out / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
