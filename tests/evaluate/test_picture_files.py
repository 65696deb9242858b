"""Where images lie."""

import pytest

from perception.errors import EvaluationError
from perception.evaluate.ground_truth import picture_path, picture_paths


def test_by_the_whole_name_or_its_last_part(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("sub/a.png", "a.png", "b.png"):
        (tmp_path / name).touch()
    assert picture_path(tmp_path, "sub/a.png") == tmp_path / "sub/a.png"
    assert picture_path(tmp_path, "val/b.png") == tmp_path / "b.png"
    # One that isn't there stays what it was called.
    assert picture_paths(["b.png", "val/c.png"], tmp_path) == [
        tmp_path / "b.png",
        tmp_path / "val/c.png",
    ]


def test_folders_without_the_pictures(tmp_path):
    with pytest.raises(EvaluationError, match="no such folder"):
        picture_paths(["a.png"], tmp_path / "none")
    with pytest.raises(EvaluationError, match=r"none of the 1 images is there, such as a\.png"):
        picture_paths(["a.png"], tmp_path)
