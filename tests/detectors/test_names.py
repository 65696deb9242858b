"""How a phrase is read: its name, its number, its color, its head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.checkpoints.installed import locate
from perception.detectors.nano.names import (
    COLORS,
    ColorMap,
    Meaning,
    NameTable,
    phrase_rows,
    singulars,
)
from perception.detectors.nano.photo_network import CLASSES, WORD_SIZE
from perception.errors import WeightsError

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


@pytest.fixture(scope="module")
def table() -> NameTable:
    return NameTable.load(locate("nano-detector-names.zip"))


@pytest.mark.parametrize(
    ("phrase", "name", "color"),
    [
        ("dog", "dog", ""),
        ("dogs", "dog", ""),
        ("the two small dogs", "dog", ""),
        ("buses", "bus", ""),
        ("knives", "knife", ""),
        ("people", "person", ""),
        ("skis", "skis", ""),
        ("automobile", "car", ""),
        ("hot-dog", "hot dog", ""),
        ("a red car", "car", "red"),
        ("grey cats", "cat", "gray"),
        ("orange cat", "cat", "orange"),
        ("orange", "orange", ""),
        ("person in a red shirt", "person", ""),
        ("slice of pizza", "pizza", ""),
        ("herds of elephants", "elephant", ""),
        ("kitten", "cat", ""),
        ("sports car", "car", ""),
    ],
)
def test_how_a_phrase_is_read(table: NameTable, phrase: str, name: str, color: str) -> None:
    assert table.read(phrase) == Meaning(table.names[name], color)


@pytest.mark.parametrize("phrase", ["wxyzzy", "red", "", "striped circle", "猫", "of", "dog house"])
def test_a_phrase_that_means_nothing_known(table: NameTable, phrase: str) -> None:
    assert "dog" not in phrase or table.read(phrase).rows != table.names["dog"]
    assert table.read(phrase).rows == () or phrase == "dog house"


def test_a_word_for_several_classes(table: NameTable) -> None:
    animals = {table.names[name][0] for name in ("cat", "dog", "horse", "elephant", "bird")}
    assert animals < set(table.names["animal"])
    assert table.names["car"][0] not in table.names["animal"]


def test_a_known_class_is_its_own_logit_alone(table: NameTable) -> None:
    """In COCO's order; all are moved by one number to where the default threshold is."""
    rows = [table.rows[table.names[name][0]] for name in ("person", "bicycle", "car", "toothbrush")]
    for place, row in zip((0, 1, 2, 79), rows, strict=True):
        want = np.zeros(CLASSES + WORD_SIZE + 2, np.float32)
        want[place], want[-1] = 1, rows[0][-1]
        np.testing.assert_array_equal(row, want)


def test_words_that_are_left_out_cost_something(table: NameTable) -> None:
    meanings = [table.read("horse"), table.read("wxyzzy horse"), table.read("wxyzzy")]
    vectors, owners = phrase_rows(table, meanings)
    assert owners.tolist() == [0, 1]
    assert vectors[0, -1] - vectors[1, -1] == pytest.approx(1)
    assert phrase_rows(table, [Meaning()])[0].shape == (0, table.rows.shape[1])


def test_what_a_word_may_be_the_plural_of() -> None:
    assert list(singulars("glass")) == ["glass"]
    assert "berry" in singulars("berries")
    assert "peach" in singulars("peaches")
    assert "gas" in singulars("gases")


@pytest.mark.parametrize("content", [None, b"", b"<html></html>", b"PK\x03\x04"])
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "names.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        NameTable.load(path)
    assert "names.zip" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("color", "rgb"),
    [
        ("red", (200, 30, 40)),
        ("orange", (240, 140, 20)),
        ("yellow", (240, 220, 60)),
        ("green", (50, 140, 60)),
        ("blue", (40, 90, 200)),
        ("purple", (120, 50, 150)),
        ("pink", (245, 150, 190)),
        ("brown", (110, 70, 40)),
        ("black", (15, 15, 18)),
        ("gray", (128, 128, 130)),
        ("white", (245, 245, 245)),
    ],
)
def test_a_box_has_the_color_that_it_shows(
    table: NameTable, color: str, rgb: tuple[int, int, int]
) -> None:
    image = np.full((60, 120, 3), (90, 160, 90) if color != "green" else (200, 200, 200), np.uint8)
    image[10:50, 10:60] = rgb
    colors = ColorMap(image, table.colors)
    boxes = np.array([[10, 10, 60, 50], [70, 10, 110, 50]], np.float32)
    factors = {name: colors.factor(boxes, name) for name in COLORS}
    assert factors[color][0] > 0.9
    assert factors[color][1] < 0.1
    assert all(factors[other][0] < 0.5 for other in COLORS if other != color)
