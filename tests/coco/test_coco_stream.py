"""COCO files that are written as the results come."""

import numpy as np
import pytest

from coco.test_coco import result
from perception.coco.write import coco_bytes, stream_coco, to_coco
from perception.errors import OutputError

CLASSES = ("cat", "dog", "猫")


def written(results, path, **options):
    info = dict(results[0].info) if results else {}
    return stream_coco(iter(results), path, classes=CLASSES, info=info, **options)


@pytest.mark.parametrize("polygons", [False, True])
def test_the_same_bytes_as_all_at_once(tmp_path, polygons):
    results = [result("a.jpg", count=0), result("b/a.jpg"), result("b/猫\udcff.jpg", count=1)]
    assert written(results, tmp_path / "x" / "coco.json", polygons=polygons) == 3
    expected = coco_bytes(to_coco(results, polygons=polygons))
    assert (tmp_path / "x" / "coco.json").read_bytes() == expected


def test_no_pictures(tmp_path):
    assert stream_coco(iter([]), tmp_path / "coco.json", classes=(), info={"a": 1}) == 0
    assert (tmp_path / "coco.json").read_bytes() == coco_bytes(to_coco([], info={"a": 1}))


def test_results_out_of_order(tmp_path):
    for names in (["b.jpg", "a.jpg"], ["a.jpg", "a.jpg"]):
        with pytest.raises(ValueError, match="sort by file_name"):
            written([result(name) for name in names], tmp_path / "coco.json")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        written([result()], tmp_path / "file" / "coco.json")


def test_polygons_keep_the_area_of_the_mask():
    (annotation,) = to_coco([result(count=1)], polygons=True)["annotations"]
    outer, hole = [5, 2, 11, 2, 11, 9, 3, 9], [5, 4, 5, 5, 6, 5, 6, 4, 5, 4]
    assert annotation["segmentation"] == [[3, 2, *outer[:2], *hole, *outer]]
    assert annotation["area"] == 55
    assert np.prod(annotation["bbox"][2:]) == 56
