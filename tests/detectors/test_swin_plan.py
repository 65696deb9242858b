from __future__ import annotations

import numpy as np
import pytest

from perception.detectors.swin_windows import (
    find_neighbours,
    find_quarters,
    find_windows,
    level_shapes,
    plan,
)

SIZES = [(1, 1), (3, 2), (4, 4), (5, 9), (8, 12)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0, 2])
def test_each_cell_is_in_one_window(size: tuple[int, int], shift: int) -> None:
    cells, places, region = find_windows(*size, 4, shift)
    count = size[0] * size[1]
    assert cells.shape == region.shape == (-(-size[0] // 4) * -(-size[1] // 4), 16)
    np.testing.assert_array_equal(np.sort(cells[cells < count]), np.arange(count))
    np.testing.assert_array_equal(cells.ravel()[places], np.arange(count))


def test_windows_of_a_small_picture() -> None:
    cells, places, region = find_windows(2, 3, 2, 0)
    np.testing.assert_array_equal(cells, [[0, 1, 3, 4], [2, 6, 5, 6]])
    np.testing.assert_array_equal(places, [0, 1, 4, 2, 3, 6])
    assert not region.any()


def test_only_neighbours_are_of_one_region() -> None:
    cells, _, region = find_windows(8, 8, 4, 2)
    for own, parts in zip(cells, region, strict=True):
        for part in set(parts.tolist()):
            rows, columns = np.divmod(own[parts == part], 8)
            assert np.ptp(rows) < 4
            assert np.ptp(columns) < 4
    assert [len(set(parts.tolist())) for parts in region] == [1, 2, 2, 4]


def test_four_cells_become_one() -> None:
    np.testing.assert_array_equal(find_quarters(2, 2), [[0, 2, 1, 3]])
    np.testing.assert_array_equal(find_quarters(3, 1), [[0, 1, 3, 3], [2, 3, 3, 3]])


def test_the_cells_around() -> None:
    np.testing.assert_array_equal(find_neighbours(1, 1), [[1, 1, 1, 1, 0, 1, 1, 1, 1]])
    np.testing.assert_array_equal(find_neighbours(2, 2), [[4, 4, 4, 4, 0, 1, 4, 2, 3]])
    assert find_neighbours(3, 4).shape == (4, 9)


def test_level_shapes() -> None:
    assert level_shapes(5, 8, 4) == [(5, 8), (3, 4), (2, 2), (1, 1)]


def test_the_plan_names_what_a_graph_takes() -> None:
    lists = plan(16, 20, side=4, extra=1)
    assert list(lists)[:6] == [
        *("windows0", "places0", "shifted0", "shifted_places0", "region0", "quarters1"),
    ]
    assert list(lists)[-1] == "neighbours4"
    assert all(one.dtype == np.int64 for one in lists.values())
    assert len(lists["places3"]) == len(lists["quarters3"]) == 2 * 3
    assert len(lists["neighbours4"]) == 1 * 2
