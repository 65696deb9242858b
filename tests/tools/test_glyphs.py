from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scenes.glyphs
from scenes.glyphs import SPRITE, find_font, load_concepts, render_sprites
from scenes.scene import Painter
from scenes.shapes import COLORS, NOUNS, PATTERNS, SIZES
from scenes.unicode_names import character_names

from perception.prompts.grammar import parse

CONCEPTS = load_concepts()


def test_enough_concepts_for_the_figures_in_the_readme() -> None:
    assert len(CONCEPTS) >= 250


def test_no_name_and_no_emoji_stands_twice() -> None:
    text = Path(scenes.glyphs.__file__).with_name("concepts.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(CONCEPTS)
    glyphs = Counter(glyph for those in CONCEPTS.values() for glyph in those)
    assert max(glyphs.values()) == 1


def test_every_concept_is_one_emoji_or_more() -> None:
    assert all(CONCEPTS.values())
    assert {len(glyph) for glyphs in CONCEPTS.values() for glyph in glyphs} == {1}


def test_names_are_phrases_as_a_detector_reads_them() -> None:
    assert list(parse(list(CONCEPTS)).phrases) == list(CONCEPTS)


def test_no_concept_goes_by_the_words_of_shapes() -> None:
    assert not set(CONCEPTS) & {*NOUNS, *PATTERNS, *SIZES}
    assert not {name.split()[0] for name in CONCEPTS if " " in name} & set(COLORS) - {"orange"}


def test_no_emoji_is_called_by_the_name_of_another_concept() -> None:
    """Its Unicode name stands for its concept in training, and would be false of it."""
    names = character_names()
    for concept, glyphs in CONCEPTS.items():
        for glyph in glyphs:
            assert names[glyph] == concept or names[glyph] not in CONCEPTS


def test_unicode_names() -> None:
    names = character_names()
    assert names["🐱"] == "cat face"
    assert names["☂"] == "umbrella"
    assert "a" not in names
    assert all(name and name == name.lower() for name in names.values())


def test_sprites(painter: Painter) -> None:
    for character, sprite in render_sprites(["🐱", "🍴"[0], "🔑"]).items():
        assert sprite.shape == (SPRITE, SPRITE, 4), character
        assert sprite.dtype == np.uint8
        rgb, alpha = sprite[..., :3].astype(int), sprite[..., 3:].astype(int)
        assert (rgb <= alpha).all()  # premultiplied
        rows, columns = np.nonzero(sprite[..., 3] > 0)
        assert max(np.ptp(rows), np.ptp(columns)) >= SPRITE - 6  # fills the square
        assert (alpha > 250).mean() > 0.1


def test_a_character_without_a_glyph(painter: Painter) -> None:
    with pytest.raises(SystemExit, match="the emoji font has no glyph for"):
        render_sprites(["\u0300"])


def test_no_font_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scenes.glyphs, "FONT_PATHS", (tmp_path / "none.ttf",))
    with pytest.raises(SystemExit, match="apt-get install fonts-noto-color-emoji"):
        find_font()


def test_drawing_is_skipped_without_the_font(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scenes.glyphs, "FONT_PATHS", (tmp_path / "none.ttf",))
    monkeypatch.delenv("PERCEPTION_SYSTEM_TESTS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install fonts-noto-color-emoji"):
        Painter()
    monkeypatch.setenv("PERCEPTION_SYSTEM_TESTS", "required")
    with pytest.raises(pytest.fail.Exception, match=r"emoji font .* is missing"):
        Painter()
