from __future__ import annotations

import colorsys

import numpy as np
import pytest
from scenes.glyphs import SPRITE
from scenes.shapes import COLORS, NOUNS, PATTERNS, draw_shape, outline, sample_color


@pytest.mark.parametrize("noun", NOUNS)
def test_an_outline_lies_in_its_square(noun: str) -> None:
    for seed in range(5):
        corners = outline(noun, np.random.default_rng(seed))
        assert corners.ndim == 2
        assert corners.shape[1] == 2
        assert len(corners) >= 3
        assert np.abs(corners).max() <= (1.07 if noun == "heart" else 1 + 1e-9)
        assert np.ptp(corners, axis=0).min() > 0.4  # no sliver


@pytest.mark.parametrize(
    ("noun", "corners"),
    [("triangle", 3), ("square", 4), ("pentagon", 5), ("hexagon", 6), ("star", 10), ("cross", 12)],
)
def test_corners(noun: str, corners: int) -> None:
    assert len(outline(noun, np.random.default_rng(0))) == corners


def test_a_cross_is_the_same_after_a_quarter_turn() -> None:
    corners = outline("cross", np.random.default_rng(0))
    turned = np.roll(corners @ np.array([[0, 1], [-1, 0]]), 3, axis=0)
    np.testing.assert_allclose(turned, corners, atol=1e-12)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_sprite_is_premultiplied_and_fills_its_square(noun: str) -> None:
    sprite = draw_shape(noun, "red", "plain", np.random.default_rng(1))
    assert sprite.shape == (SPRITE, SPRITE, 4)
    assert sprite.dtype == np.uint8
    alpha = sprite[..., 3]
    assert (sprite[..., :3].astype(int) <= alpha[..., None].astype(int)).all()
    rows, columns = np.nonzero(alpha > 127)
    assert max(np.ptp(rows), np.ptp(columns)) > 0.8 * SPRITE
    assert 0.05 < (alpha > 127).mean() < 0.97


@pytest.mark.parametrize(("noun", "hole"), [("ring", True), ("circle", False)])
def test_only_a_ring_has_a_hole(noun: str, hole: bool) -> None:
    sprite = draw_shape(noun, "red", "plain", np.random.default_rng(0))
    assert (sprite[SPRITE // 2, SPRITE // 2, 3] == 0) == hole


@pytest.mark.parametrize("color", COLORS)
def test_a_color_is_sampled_from_its_ranges(color: str) -> None:
    rng = np.random.default_rng(0)
    (low, high), saturation, value = COLORS[color]
    for _ in range(20):
        rgb = sample_color(color, rng)
        hue, s, v = colorsys.rgb_to_hsv(*(rgb / 255))
        assert saturation[0] - 1e-6 <= s <= saturation[1] + 1e-6
        assert value[0] - 1e-6 <= v <= value[1] + 1e-6
        if high - low < 360:
            assert (360 * hue - low + 1e-3) % 360 <= high - low + 2e-3


def test_no_two_colors_share_a_place() -> None:
    """The colored ones differ in hue, or in saturation or value: gaps keep names unambiguous."""
    spans = {name: np.array(span) for name, span in COLORS.items()}
    for one, (hue, *rest) in spans.items():
        for other, (hue_other, *rest_other) in spans.items():
            if one < other:
                pairs = zip([hue, *rest], [hue_other, *rest_other], strict=True)
                assert any(a[1] <= b[0] or b[1] <= a[0] for a, b in pairs), (one, other)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_only_a_pattern_shows_a_second_color(pattern: str) -> None:
    sprites = [draw_shape("square", "red", pattern, np.random.default_rng(k)) for k in range(6)]
    inner = [s[40:88, 40:88, :3].astype(float) for s in sprites]
    # A shaded plain square changes smoothly: its neighbouring pixels stay alike.
    steps = [np.abs(np.diff(pixels, axis=1)).max() for pixels in inner]
    assert (min(steps) > 5) == (pattern != "plain")
    assert (max(steps) < 5) == (pattern == "plain")


@pytest.mark.parametrize(
    ("noun", "color", "pattern", "error"),
    [
        ("blob", "red", "plain", ValueError),
        ("star", "red", "zigzag", ValueError),
        ("star", "ultraviolet", "plain", KeyError),
    ],
)
def test_unknown_words(noun: str, color: str, pattern: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        draw_shape(noun, color, pattern, np.random.default_rng(0))


def test_the_same_state_draws_the_same_shape() -> None:
    one, other = (draw_shape("star", "blue", "dotted", np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
