"""A measurement as one HTML page."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from evaluate.things_on_disk import HW, coco_file, grabcut_folder, part, stub_model, thing_under
from perception.errors import OutputError
from perception.evaluate import report
from perception.evaluate.boxes import measure_boxes
from perception.evaluate.cases import SIDE, draw_case
from perception.evaluate.click_result import measure_clicks
from perception.evaluate.objects import as_instances, read_coco_things, read_grabcut_things
from perception.evaluate.proposals import measure_proposals
from perception.evaluate.report import write_report
from perception.instances import Instances
from perception.ops.masks import mask_to_rle
from perception.predictor.everything_settings import EverythingSettings
from perception.report.charts import draw_plot
from perception.report.measurement import MOST_CASES, Case, Line, Plot, Table, worst

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that what is opened is closed, and collects tags and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@dataclass
class Made:
    """A measurement with given parts."""

    title: str = "Made"
    info: dict = field(default_factory=dict)
    table: tuple = ()
    plotted: tuple = ()
    shown: tuple = ()

    def tables(self):
        return self.table

    def plots(self):
        return self.plotted

    def cases(self):
        return self.shown

    def to_json(self):
        return {}


def case(name="a.png", value=0.5, box=(8, 8, 40, 40), **more):
    found = as_instances([mask_to_rle(part(box))], ["thing"])
    return Case(name, value, "a caption", found, found, **more)


@pytest.fixture
def things(tmp_path):
    return read_coco_things(*coco_file(tmp_path))


def written(measured, tmp_path, images=None):
    path = tmp_path / "out" / "report.html"
    write_report(measured, path, images=images)
    return path.read_text("utf-8")


@pytest.mark.parametrize("which", ["clicks", "boxes", "everything"])
def test_what_prompts_give(things, tmp_path, which):
    model = stub_model(thing_under)
    if which == "clicks":
        measured = measure_clicks(model, things)
    elif which == "boxes":
        measured = measure_boxes(model, things)
    else:
        measured = measure_proposals(model, things, EverythingSettings(points_per_side=6))
    text = written(measured, tmp_path, things.folder)
    page = Page(text)
    assert len(page.named("svg")) == len(measured.plots())
    assert len(page.named("img")) == 2 * len(measured.cases())
    assert measured.title in page.text
    assert written(measured, tmp_path, things.folder) == text


def test_nothing_from_elsewhere(things, tmp_path):
    text = written(measure_clicks(stub_model(thing_under), things), tmp_path, things.folder)
    page = Page(text)
    assert page.named("script") == page.named("link") == []
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.named("img"))
    assert all(image["alt"] for image in page.named("img"))
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "default-src 'none'" in text


def test_markup_in_names_is_text(tmp_path):
    nasty = "<script>alert(1)</script>&\n"
    measured = Made(
        title=nasty,
        info={"weights": {nasty: "0" * 64}, nasty: {"a": [nasty]}},
        table=(Table(nasty, (nasty, "b"), ((nasty, 1),)),),
        plotted=(Plot(nasty, nasty, nasty, (Line(nasty, ((0, 0), (1, 1))),)),),
        shown=(case(nasty),),
    )
    page = Page(written(measured, tmp_path, tmp_path))
    assert page.named("script") == []


def test_an_empty_measurement(tmp_path):
    page = Page(written(Made(), tmp_path))
    assert page.named("img") == page.named("svg") == []


def test_cells(tmp_path):
    rows = (("a", None, 0.12345), ("b", 12345, 1.0))
    page = Page(written(Made(table=(Table("T", ("", "x", "y"), rows),)), tmp_path))
    assert [text for text in page.text if text in ("–", "0.123", "12,345", "1.000")] == [
        "–",
        "0.123",
        "12,345",
        "1.000",
    ]


def test_a_long_table_is_folded_away(tmp_path):
    rows = tuple((f"class {n}", n) for n in range(80))
    page = Page(written(Made(table=(Table("By class", ("", "n"), rows),)), tmp_path))
    assert len(page.named("details")) == 2
    assert " 80 rows" in page.text


def test_at_most_fifty_cases(tmp_path, monkeypatch):
    assert MOST_CASES == 50
    monkeypatch.setattr(report, "MOST_CASES", 3)  # Each takes a while to draw.
    page = Page(written(Made(shown=tuple(case() for _ in range(5))), tmp_path))
    assert len(page.named("img")) == 6


def test_pictures_that_are_gone_or_others_now(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "small.png")
    measured = Made(shown=(case("gone.png"), case("small.png")))
    text = " ".join(Page(written(measured, tmp_path, tmp_path)).text)
    assert "no such file" in text
    assert "another size now" in text


def test_the_page_cant_be_a_folder(tmp_path):
    with pytest.raises(OutputError, match="a folder"):
        write_report(Made(), tmp_path)


def test_a_case_shows_what_matters():
    image = np.full((*HW, 3), 255, np.uint8)
    small = case(box=(60, 40, 70, 45))
    truth, answer = draw_case(small, image)
    assert truth.shape == answer.shape == (SIDE, SIDE, 3)
    # The window is 48 pixels a side: 10 x 5 of these are the thing's.
    covered = (truth != 255).any(axis=2).mean()
    assert covered == pytest.approx(10 * 5 / 48**2, rel=0.3)
    large = case(box=(2, 2, 120, 90))
    assert draw_case(large, image)[0].shape == (SIDE * HW[0] // HW[1], SIDE, 3)


def test_truth_and_answer_differ():
    image = np.full((*HW, 3), 255, np.uint8)
    found, none = as_instances([mask_to_rle(part((8, 8, 40, 40)))], ["x"]), Instances.empty(HW)
    truth, answer = draw_case(Case("a", 0, "", found, none), image)
    assert (truth != 255).any()
    assert (answer == 255).all()


def test_an_empty_answer_moves_nothing():
    image = np.full((*HW, 3), 255, np.uint8)
    found = as_instances([mask_to_rle(part((90, 60, 100, 70)))], ["x"])
    empty = as_instances([mask_to_rle(np.zeros(HW, bool))], ["x"])
    truth, answer = draw_case(Case("a", 0, "", found, empty), image)
    assert (truth != 255).any(axis=2).mean() == pytest.approx(10 * 10 / 48**2, rel=0.3)
    assert (answer == 255).all()


def test_of_equal_cases_the_largest_come_first():
    cases = [case("a.png", box=(8, 8, 20, 20)), case("b.png", box=(8, 8, 40, 40)), case("c.png", 0)]
    assert [one.file_name for one in worst(cases)] == ["c.png", "b.png", "a.png"]


def test_boxes_alone_are_drawn_where_they_are():
    image = np.full((*HW, 3), 255, np.uint8)
    boxes = Instances(HW, ("x",), np.float32([[60, 40, 80, 60]]), [0.5], np.array([0]))
    truth, _ = draw_case(Case("a", 0, "", boxes, boxes), image)
    rows, columns = np.nonzero((truth != 255).any(axis=2))
    # 48 pixels a side around the middle 70, 50.
    want = (60 - 46) * SIDE / 48, (80 - 46) * SIDE / 48
    assert (columns.min(), columns.max()) == pytest.approx(want, abs=4)
    assert (rows.min(), rows.max()) == pytest.approx((14 * SIDE / 48, 34 * SIDE / 48), abs=4)


def test_clicks_are_drawn_on_both():
    image = np.full((*HW, 3), 255, np.uint8)
    points = np.float32([[64, 48], [10, 10]])
    clicked = case(box=(2, 2, 120, 90), points=points, point_labels=np.array([1, 0]))
    for drawn, plain in zip(
        draw_case(clicked, image), draw_case(case(box=(2, 2, 120, 90)), image), strict=True
    ):
        rows, columns = np.nonzero((drawn != plain).any(axis=2))
        scale = SIDE / HW[1]
        for x, y in points * scale:
            assert (np.hypot(columns - x, rows - y) < 8).any()
        assert drawn[int(48 * scale) + 4, int(64 * scale) + 4].tolist() != [255, 255, 255]


def test_unknown_pixels_have_their_words(tmp_path):
    things = read_grabcut_things(grabcut_folder(tmp_path / "set"))
    measured = measure_boxes(stub_model(thing_under), things)
    assert "nobody has judged" in " ".join(Page(written(measured, tmp_path, things.folder)).text)


def svg(plot):
    return {
        kind: [part.attrib for part in draw_plot(plot).iter(kind)]
        for kind in ("polyline", "circle", "rect", "text")
    }


def test_a_line_goes_where_its_points_are():
    plot = Plot("t", "clicks", "IoU", (Line("a", tuple((n, n / 20) for n in range(1, 21))),))
    points = [tuple(map(float, at.split(","))) for at in svg(plot)["polyline"][0]["points"].split()]
    xs, ys = zip(*points, strict=True)
    assert np.allclose(np.diff(xs), np.diff(xs)[0], atol=0.2)
    assert np.allclose(np.diff(ys), np.diff(ys)[0], atol=0.2)
    assert ys[0] > ys[-1]
    texts = [text.text for text in draw_plot(plot).iter("text")]
    assert [text for text in texts if text.isdigit()] == ["0", "1", "1", "5", "10", "15", "20"]
    assert {"0.25", "clicks", "IoU"} <= set(texts)


def test_bars_are_as_high_as_their_figures():
    lines = (Line("a", ((0.0, 0.5), (1.0, 1.0))), Line("b", ((0.0, 0.25), (1.0, float("nan")))))
    plot = Plot("t", "", "AP", lines, bars=True, ticks=("small", "large"))
    heights = [float(bar["height"]) for bar in svg(plot)["rect"]]
    assert [height / heights[1] for height in heights] == pytest.approx([0.5, 1, 0.25], abs=0.01)


@pytest.mark.parametrize(
    "lines",
    [(), (Line("a", ()),), (Line("a", ((1.0, float("nan")),)),), (Line("a", ((3.0, 0.5),)),)],
)
@pytest.mark.parametrize("bars", [False, True])
def test_plots_of_little(lines, bars):
    drawn = draw_plot(Plot("t", "x", "y", lines, bars=bars, ticks=("a",) if bars else ()))
    assert drawn.tag == "figure"
