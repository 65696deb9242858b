from __future__ import annotations

import numpy as np
import pytest

from perception.detectors.onnx_files import (
    MOST_OBLONG,
    boxes_in_image,
    fitted_pixels,
    fitted_size,
    thickened,
    to_patches,
)


@pytest.mark.parametrize(
    ("hw", "want"),
    [
        ((480, 640), (800, 1066)),
        ((640, 480), (1066, 800)),
        ((800, 1066), (800, 1066)),
        ((300, 300), (800, 800)),
        ((100, 1000), (133, 1333)),
        ((1000, 100), (1333, 133)),
        ((1, 32), (42, 1333)),
    ],
)
def test_fitted_size(hw: tuple[int, int], want: tuple[int, int]) -> None:
    assert fitted_size(*hw, shortest=800, longest=1333) == want


def test_sizes_as_transformers_rounds_them() -> None:
    transforms = pytest.importorskip("transformers.image_transforms")
    numbers = np.random.default_rng(0)
    for height, width in numbers.integers(1, 3000, (2000, 2)).tolist():
        want = transforms.get_size_with_aspect_ratio((height, width), 800, 1333)
        assert fitted_size(height, width, shortest=800, longest=1333) == want


def test_pixels_are_normalised() -> None:
    image = np.full((4, 6, 3), (255, 0, 51), np.uint8)
    pixels = fitted_pixels(image, (2, 3), (0.5, 0.5, 0.0), (0.5, 0.25, 0.1))
    assert pixels.shape == (3, 2, 3)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[:, 0, 0], [1, -2, 2], atol=1e-6)


def test_patches_are_padded_with_zeros() -> None:
    pixels = np.arange(3 * 5 * 7, dtype=np.float32).reshape(3, 5, 7)
    patches, rows, columns = to_patches(pixels, 4)
    assert (patches.shape, rows, columns) == ((4, 48), 2, 2)
    np.testing.assert_array_equal(patches[0].reshape(3, 4, 4), pixels[:, :4, :4])
    last = patches[3].reshape(3, 4, 4)
    np.testing.assert_array_equal(last[:, 0, :3], pixels[:, 4, 4:])
    assert not last[:, 1:].any()
    assert not last[:, :, 3].any()


def test_strips_are_thickened() -> None:
    strip = np.arange(200, dtype=np.uint8)[None, :, None].repeat(3, 2)
    thick = thickened(strip)
    assert thick.shape == (-(-200 // MOST_OBLONG), 200, 3)
    assert (thick == strip).all()
    assert thickened(thick) is thick


def test_boxes_in_image() -> None:
    boxes = np.array([[0.5, 0.5, 0.5, 1.0]], np.float32)
    np.testing.assert_allclose(boxes_in_image(boxes, 200, 100), [[50, 0, 150, 100]])
    assert boxes_in_image(boxes[:0], 200, 100).shape == (0, 4)
