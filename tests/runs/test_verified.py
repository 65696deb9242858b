"""What a run writes has no fault that ``perception verify`` knows of."""

import json
from pathlib import Path

import pytest
from fakes import HereReader, color_model, drawing
from PIL import Image

import perception as pc
from perception.coco.lint.faults import Findings, Severity
from perception.coco.lint.lint import check_files, lint
from perception.coco.lint.read import read_coco
from perception.detectors.decode import SAME_CLASS_IOU, Labelling
from perception.runs.annotate import Shapes, annotate, export_annotations
from perception.runs.missing_masks import make_missing
from perception.runs.read import RunReader, run_path

SCENES = Path(__file__).parents[1] / "data" / "scenes"
# Valid, and meant: masks are run lengths, and images are listed as they are read, upright.
MEANT = {"rle-not-crowd", "file-exif-turned"}


@pytest.fixture(autouse=True)
def readers_in_this_process(monkeypatch):
    monkeypatch.setattr("perception.runs.local_engine.Reader", HereReader)


def faults(path, images):
    """The codes of all that is wrong with a file and its images."""
    findings = Findings()
    content = read_coco(path, findings)
    lint(content, findings)
    check_files(findings, content, images)
    assert findings.count(Severity.ERROR) == 0
    return {fault.code for fault in findings.faults()} - MEANT


def make_masks(out, model, options):
    """Those that these options show, and the run's own don't."""
    labelling = Labelling(options.get("threshold", 0.3), options.get("nms", SAME_CLASS_IOU))
    make_missing(run_path(out), labelling, lambda *_: model)


@pytest.fixture
def odd_pictures(pictures):
    """Also a turned one, one with an odd name, a small one, and one with things at its edges."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(drawing()).save(pictures / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(drawing()).save(pictures / "日本 ü #1.png")
    Image.fromarray(drawing(3, 2, things=[])).save(pictures / "small.png")
    edges = [("red", (0, 0, 20, 96)), ("blue", (100, 60, 128, 96))]
    Image.fromarray(drawing(things=edges)).save(pictures / "edges.png")
    return pictures


EXPORTS = [
    {},
    {"shapes": Shapes(polygons=True)},
    {"threshold": 0.05},
    {"threshold": 1.0},
    {"nms": 0.9, "shapes": Shapes(polygons=True)},
    {"shapes": Shapes(polygons=True, simplify=0.5)},
    {"shapes": Shapes(polygons=True, simplify=3)},
    {"nms": 0.0},
]


@pytest.mark.parametrize("options", EXPORTS, ids=str)
def test_drawings(odd_pictures, tmp_path, options):
    out, again = tmp_path / "out.json", tmp_path / "again.json"
    text = "red thing: red | green, blue, yellow"
    annotate(color_model, [str(odd_pictures)], text, out)
    assert faults(out, odd_pictures) == set()
    make_masks(out, color_model(), options)
    with RunReader(run_path(out)) as run:
        export_annotations(run, again, as_format="coco", **options)
    assert faults(again, odd_pictures) == set()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A run of nano over some real scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    for path in sorted(SCENES.glob("plain-00*.webp")) + sorted(SCENES.glob("transforms-00*.webp")):
        (folder / path.name).write_bytes(path.read_bytes())
    out = tmp_path_factory.mktemp("run") / "out.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perception.runs.local_engine.Reader", HereReader)
        model = pc.load("nano", threads=1)
        annotate(lambda: model, [str(folder)], "star, heart, circle, square, cross, cat", out)
    return folder, out


@pytest.mark.parametrize("options", EXPORTS, ids=str)
def test_nano(scenes, tmp_path, options):
    folder, out = scenes
    assert len(json.loads(out.read_bytes())["annotations"]) > 5
    assert faults(out, folder) == set()
    again = tmp_path / "again.json"
    make_masks(out, pc.load("nano", threads=1), options)
    with RunReader(run_path(out)) as run:
        export_annotations(run, again, as_format="coco", **options)
    assert faults(again, folder) == set()
