"""The named things in a scene: glyphs of an emoji font, one sprite each.

The font is Debian's `fonts-noto-color-emoji`; `concepts.txt` says which emoji shows which concept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT_PATHS = (
    Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf"),
)
FONT_SIZE = 109  # the one size that the bitmap font holds
SPRITE = 128  # a sprite is SPRITE x SPRITE x 4, premultiplied RGBA, uint8


def load_concepts() -> dict[str, list[str]]:
    """Concept name -> the emoji that show it."""
    text = Path(__file__).with_name("concepts.txt").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.split(": ") for line in lines if line and not line.startswith("#"))
    return {name: glyphs.split() for name, glyphs in pairs}


def find_font() -> Path:
    """The emoji font of this machine, or one line that says how to get it."""
    for path in FONT_PATHS:
        if path.is_file():
            return path
    raise SystemExit("no emoji font: apt-get install fonts-noto-color-emoji")


def render_sprites(characters: list[str]) -> dict[str, np.ndarray]:
    """Character -> sprite: the glyph cropped to what is visible and fitted into the square."""
    font = ImageFont.truetype(str(find_font()), FONT_SIZE)
    return {character: _render(character, font) for character in characters}


def _render(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((8, 8), character, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise SystemExit(f"the emoji font has no glyph for {character!r}: use a newer one")
    glyph = canvas.crop(box)
    scale = (SPRITE - 2) / max(glyph.size)
    size = [max(1, round(n * scale)) for n in glyph.size]
    glyph = glyph.resize(size, Image.Resampling.LANCZOS)
    sprite = Image.new("RGBA", (SPRITE, SPRITE))
    sprite.paste(glyph, ((SPRITE - size[0]) // 2, (SPRITE - size[1]) // 2))
    pixels = np.asarray(sprite).astype(np.uint16)
    pixels[..., :3] = pixels[..., :3] * pixels[..., 3:] // 255
    return pixels.astype(np.uint8)
