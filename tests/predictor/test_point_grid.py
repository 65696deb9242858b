"""Where segment-everything asks."""

import numpy as np
import pytest

from perception.predictor.everything_settings import Crop, picture_crops, point_grid, points_in


def test_points_lie_in_the_middle_of_cells():
    assert point_grid(1).tolist() == [[0.5, 0.5]]
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert point_grid(32).shape == (1024, 2)


def test_points_in_a_crop():
    crop = Crop(10, 20, 50, 30, 1)
    points = points_in(np.array([[0, 0], [0.5, 0.1], [1, 1]]), crop)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, [[0, 0], [20, 1], [40, 10]], rtol=1e-6)
    assert (points < (40, 10)).all()


def test_crops():
    assert picture_crops((30, 40), 0, 0.3) == [(0, 0, 40, 30, 0)]
    crops = picture_crops((100, 200), 1, 0.2)
    assert [crop.box for crop in crops] == [
        (0, 0, 200, 100),
        (0, 0, 110, 60),
        (0, 40, 110, 100),
        (90, 0, 200, 60),
        (90, 40, 200, 100),
    ]
    assert [crop.layer for crop in crops] == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("image_hw", [(1, 1), (1, 9), (3, 2), (37, 11), (480, 640), (999, 1)])
@pytest.mark.parametrize("overlap", [0, 0.1, 512 / 1500, 0.99])
def test_crops_cover_the_picture_and_hold_pixels(image_hw, overlap):
    for layers in range(4):
        crops = picture_crops(image_hw, layers, overlap)
        assert len(crops) <= sum(4**n for n in range(layers + 1))
        for layer in range(layers + 1):
            covered = np.zeros(image_hw, bool)
            for x0, y0, x1, y1, _ in (crop for crop in crops if crop.layer == layer):
                assert 0 <= x0 < x1 <= image_hw[1]
                assert 0 <= y0 < y1 <= image_hw[0]
                covered[y0:y1, x0:x1] = True
            assert covered.all()


@pytest.mark.parametrize("image_hw", [(480, 640), (640, 481), (201, 333)])
def test_reference(image_hw):
    amg = pytest.importorskip("segment_anything.utils.amg")
    boxes, layers = amg.generate_crop_boxes(image_hw, 3, 512 / 1500)
    crops = picture_crops(image_hw, 3, 512 / 1500)
    assert [list(crop.box) for crop in crops] == boxes
    assert [crop.layer for crop in crops] == layers
    np.testing.assert_allclose(point_grid(13), amg.build_point_grid(13), atol=1e-12)
