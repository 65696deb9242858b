"""How an image is divided into tiles."""

from itertools import pairwise

import numpy as np
import pytest

from perception.errors import PromptError
from perception.ops.windows import OVERLAP, Tile, check_tile, tiles

SIZES = [(64, 64), (65, 64), (64, 116), (64, 117), (1000, 333), (63, 500), (10_000, 10_000)]


@pytest.mark.parametrize("image_hw", SIZES)
def test_they_cover_the_picture_and_overlap(image_hw):
    side = 64 if max(image_hw) < 5000 else 1024
    found = tiles(image_hw, side)
    for axis, length in ((0, image_hw[1]), (1, image_hw[0])):
        ends = sorted({(tile[axis], tile[axis + 2]) for tile in found})
        assert {end - start for start, end in ends} == {min(side, length)}
        assert ends[0][0] == 0
        assert ends[-1][1] == length
        shared = [end - start for (_, end), (start, _) in pairwise(ends)]
        assert all(part >= OVERLAP * side for part in shared)
        assert len(ends) == len({start for start, _ in ends})


def test_one_if_it_fits_and_no_more_than_needed():
    assert tiles((40, 64), 64) == (Tile(0, 0, 64, 40),)
    assert len(tiles((64, 115), 64)) == 2  # 64 + 51: they share 13, which is a fifth.
    assert len(tiles((64, 116), 64)) == 3
    assert len(tiles((100, 100), 64)) == 4


def test_row_by_row():
    assert tiles((100, 100), 80) == (
        *((0, 0, 80, 80), (20, 0, 100, 80)),
        *((0, 20, 80, 100), (20, 20, 100, 100)),
    )


def test_a_tile():
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    tile = Tile(1, 2, 4, 5)
    assert (tile.cut_from(image) == image[2:5, 1:4]).all()
    assert tile.holds(np.float32([1, 2, 4, 5]))
    assert not tile.holds(np.float32([1, 2, 4.5, 5]))
    assert not tile.holds(np.float32([0.5, 2, 4, 5]))


def test_masks_of_a_tile_in_the_picture():
    masks = np.random.default_rng(0).random((2, 3, 4, 5)) < 0.5
    pasted = Tile(-1, 2, 4, 6).pasted(masks, (5, 7))
    assert pasted.shape == (2, 3, 5, 7)
    assert np.array_equal(pasted[..., 2:5, 0:4], masks[..., :3, 1:])
    assert pasted.sum() == masks[..., :3, 1:].sum()
    assert Tile(0, 0, 5, 4).pasted(masks, (4, 5)) is masks  # the whole image
    assert not Tile(9, 9, 14, 13).pasted(masks, (5, 7)).any()


@pytest.mark.parametrize("tile", [None, "auto", 32, 4096])
def test_sizes(tile):
    check_tile(tile)


@pytest.mark.parametrize("tile", [0, 31, -64, 64.0, True, "64", "big"])
def test_no_sizes(tile):
    with pytest.raises(PromptError, match='"auto" or at least 32 pixels'):
        check_tile(tile)
