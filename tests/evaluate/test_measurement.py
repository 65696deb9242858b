"""What all measurements share."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

from perception.instances import Instances
from perception.report.measurement import (
    MOST_CASES,
    Case,
    Table,
    measurement_json,
    rounded,
    worst,
    write_measurement,
)


@dataclass(frozen=True)
class Measured:
    title: str = "a measurement"
    info: dict = field(default_factory=lambda: {"model": "nano"})

    def to_json(self):
        return {"AP": rounded(1 / 3)}

    def tables(self):
        return ()

    plots = cases = tables


def case(value, name="a.png", caption=""):
    nothing = Instances.empty((10, 10))
    return Case(name, value, caption, nothing, nothing)


def test_the_worst_come_first():
    assert worst([]) == ()
    some = [case(0.5, "b.png"), case(0.5, "a.png"), case(0.1), case(1)]
    assert [(one.value, one.file_name) for one in worst(some)] == [
        (0.1, "a.png"), (0.5, "a.png"), (0.5, "b.png"), (1, "a.png"),
    ]  # fmt: skip
    assert len(worst([case(n) for n in range(60)])) == MOST_CASES


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), (float("nan"), None), (np.float32(1 / 3), 0.3333), (1, 1.0), (0, 0.0)],
)
def test_figures_of_json(value, shown):
    assert rounded(value) == shown
    assert rounded(value) is None or type(rounded(value)) is float


def test_json(tmp_path):
    text = measurement_json(Measured())
    content = json.loads(text)
    assert content["measured"] == "a measurement"
    assert (content["info"], content["AP"]) == ({"model": "nano"}, 0.3333)
    path = tmp_path / "sub" / "a.json"
    write_measurement(Measured(), path)
    assert path.read_text() == text + "\n"


def test_a_row_of_another_length():
    with pytest.raises(ValueError, match="2 columns, got the row"):
        Table("t", ("a", "b"), (("x",),))
