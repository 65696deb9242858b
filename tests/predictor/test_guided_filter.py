"""The guided filter against its definition, window by window."""

import numpy as np
import pytest

from perception.predictor.refine import EPSILON, GuidedFilter

RADIUS = 2


def picture(shape=(14, 11)):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 40, (*shape, 3)).astype(np.uint8)
    pixels[:, 6:] += 150
    return pixels


def grey(pixels):
    return pixels[..., :1].repeat(3, axis=2)


@pytest.fixture
def guide():
    return picture()


def by_definition(guide, values):
    """Equations 14 to 16 of He et al. 2010, one window after the other."""
    colors = guide.astype(np.float64) / 255
    hw = values.shape
    # Beyond the edge the image is mirrored without its last row, as OpenCV's blur does.
    colors = np.pad(colors, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), "reflect")
    padded = np.pad(values.astype(np.float64), RADIUS, "reflect")
    slopes, starts = np.zeros((*hw, 3)), np.zeros(hw)
    for y, x in np.ndindex(hw):
        window = np.s_[y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1]
        seen, asked = colors[window].reshape(-1, 3), padded[window].ravel()
        spread = np.cov(seen.T, bias=True) + EPSILON * np.eye(3)
        both = ((seen - seen.mean(0)) * (asked - asked.mean())[:, None]).mean(0)
        slopes[y, x] = np.linalg.solve(spread, both)
        starts[y, x] = asked.mean() - slopes[y, x] @ seen.mean(0)
    slopes = np.pad(slopes, ((RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), "reflect")
    starts = np.pad(starts, RADIUS, "reflect")
    smooth = np.zeros(hw)
    for y, x in np.ndindex(hw):
        window = np.s_[y : y + 2 * RADIUS + 1, x : x + 2 * RADIUS + 1]
        own = guide[y, x].astype(np.float64) / 255
        smooth[y, x] = (slopes[window] @ own + starts[window]).mean()
    return smooth


GUIDES = {
    "colors": picture(),
    "grey": grey(picture()),
    "black and white": grey(picture()) // 100 * 255,
    "flat": np.full((14, 11, 3), 7, np.uint8),
    "smaller than a window": picture((3, 4)),
}


@pytest.mark.parametrize("name", GUIDES)
def test_it_is_the_filter_of_the_paper(name):
    guide = GUIDES[name]
    values = np.random.default_rng(4).random(guide.shape[:2]).astype(np.float32)
    smooth = GuidedFilter(guide, RADIUS)(values)
    np.testing.assert_allclose(smooth, by_definition(guide, values), atol=1e-4)


def test_an_edge_of_the_picture_stays_one_and_what_is_flat_is_smoothed(guide):
    values = (np.arange(11) >= 6).astype(np.float32)[None].repeat(14, axis=0)
    noise = np.random.default_rng(5).normal(0, 0.2, values.shape).astype(np.float32)
    smooth = GuidedFilter(guide, RADIUS)(values + noise)
    assert smooth[:, :6].max() < 0.35 < 0.65 < smooth[:, 6:].min()
    flat = np.full_like(guide, 90)
    assert np.ptp(GuidedFilter(flat, RADIUS)(values)[0, 3:9]) > 0.3  # an edge in nothing is washed
    assert GuidedFilter(flat, RADIUS)(values)[0, 5] == pytest.approx(0.4, abs=0.05)


def test_a_window_of_one_cell_changes_nothing(guide):
    values = np.random.default_rng(6).random(guide.shape[:2]).astype(np.float32)
    np.testing.assert_allclose(GuidedFilter(guide, 0)(values), values, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_a_line_and_a_cell(shape):
    values = np.random.default_rng(7).random(shape).astype(np.float32)
    smooth = GuidedFilter(picture(shape), RADIUS)(values)
    assert smooth.shape == shape
    assert smooth.dtype == np.float32
    assert np.isfinite(smooth).all()
