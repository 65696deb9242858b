"""One result as a file, a data frame, and what a notebook or a viewer shows."""

import csv
import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageShow
from things import HW, things

from perception.errors import DataError, MissingExtraError, OutputError
from perception.formats.display import _SHOWN_ROWS, _SHOWN_SIDE
from perception.instances import Instances

GREY = np.full((*HW, 3), 200, np.uint8)


def example(**more):
    rows = [(0, 0.9, (5, 5, 30, 30)), (2, 0.5, (10, 10, 20, 20))]
    more = {"image": GREY, "file_name": "a.jpg", **more}
    return things(*rows, classes=("cat", "dog", "<b>star"), **more)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("b/c.JPG", "JPEG"), ("d.webp", "WEBP")]
)
def test_save_the_overlay(tmp_path, name, kind):
    path = example().save(tmp_path / name)
    assert path == tmp_path / name
    with Image.open(path) as image:
        assert (image.format, image.size) == (kind, (80, 60))
        saved = np.asarray(image).astype(int)
    overlay = np.asarray(example().overlay())
    assert np.abs(saved - overlay).mean() < np.abs(GREY - overlay.astype(int)).mean() / 4


def test_save_coco_and_csv(tmp_path):
    result = example()
    assert json.loads(result.save(str(tmp_path / "x.json")).read_text()) == result.to_coco()
    rows = list(csv.DictReader(result.save(tmp_path / "x.csv").open()))
    assert [row["class"] for row in rows] == ["cat", "<b>star"]


def test_save_says_what_it_can_write(tmp_path):
    for path in (tmp_path / "x.txt", tmp_path / "x", str(tmp_path / "x.gif")):
        with pytest.raises(OutputError, match=r"\.png.*\.json \(COCO\) or \.csv"):
            example().save(path)
    with pytest.raises(OutputError, match="path of a file, got None"):
        example().save(None)
    with pytest.raises(DataError, match="image="):
        example(image=None).save(tmp_path / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="can't be written"):
        example().save(tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


class Viewer(ImageShow.Viewer):
    """A viewer of Pillow's that keeps what it is asked to show."""

    def __init__(self):
        self.shown = []

    def show(self, image, **options):
        self.shown.append(image)
        return 1


def test_show_in_a_viewer_of_the_system(monkeypatch):
    viewer = Viewer()
    monkeypatch.setattr(ImageShow, "_viewers", [viewer])
    example().show()
    assert viewer.shown == [example().overlay()]
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(OutputError, match=r'no image viewer here: result\.save\("overlay'):
        example().show()


def test_show_in_a_notebook(monkeypatch):
    displayed = []
    notebook = SimpleNamespace(
        get_ipython=lambda: SimpleNamespace(kernel=object()),
        display=SimpleNamespace(display=displayed.append),
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setattr(ImageShow, "_viewers", [])
    example().show()
    assert displayed == [example().overlay()]


def test_png_of_a_notebook_is_no_larger_than_a_screen():
    small = Image.open(io.BytesIO(example()._repr_png_()))
    assert (small.format, small.size) == ("PNG", (80, 60))
    large = Instances.empty((1000, 2000))
    large = replace(large, image=np.zeros((1000, 2000, 3), np.uint8))
    assert Image.open(io.BytesIO(large._repr_png_())).size == (_SHOWN_SIDE, _SHOWN_SIDE // 2)
    assert example(image=None)._repr_png_() is None


def test_html_of_a_notebook():
    page = example()._repr_html_()
    assert "<p>2 instances in 80 x 60 pixels</p>" in page
    assert '<img alt="overlay" src="data:image/jpeg;base64,' in page
    assert (
        "<td>1</td><td>&lt;b&gt;star</td><td>0.50</td><td>10, 10, 20, 20</td><td>100</td>" in page
    )
    assert "<b>" not in page
    without = replace(example(image=None), scores=np.array([np.nan, 0.5]))._repr_html_()
    assert "<img" not in without
    assert "<td>cat</td><td></td>" in without
    assert Instances.empty((3, 4))._repr_html_() == "<p>0 instances in 4 x 3 pixels</p>"
    many = things(*[(0, 0.5, (1, 1, 4, 4))] * (_SHOWN_ROWS + 3))._repr_html_()
    assert many.count("<tr>") == _SHOWN_ROWS + 1
    assert many.endswith("<p>and 3 more</p>")


def test_a_data_frame_is_the_csv(tmp_path):
    pandas = pytest.importorskip("pandas")
    more = {"runner_up": np.array([1, -1]), "quality": np.array([0.25, np.nan])}
    result = example(parent=np.array([-1, 0]), **more)
    frame = result.to_dataframe()
    assert frame["class"].tolist() == ["cat", "<b>star"]
    assert frame["part_of"].dtype == "Int64"
    assert frame.loc[1, "part_of"] == 1
    assert frame["quality"].isna().tolist() == [False, True]
    read = pandas.read_csv(result.save(tmp_path / "a.csv"))
    assert read.columns.tolist() == frame.columns.tolist()
    for name in ("file_name", "width", "x0", "y1", "area", "number", "quality"):
        pandas.testing.assert_series_equal(frame[name], read[name], check_dtype=False)
    nothing = Instances.empty((3, 4)).to_dataframe()
    assert (len(nothing), nothing["score"].dtype) == (0, np.float64)


def test_without_pandas_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        example().to_dataframe()
