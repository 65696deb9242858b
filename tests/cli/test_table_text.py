"""Tables on a terminal."""

from perception.cli.tables import table_text
from perception.report.measurement import Table


def test_names_left_and_figures_right():
    rows = (("cat", 1234, 0.5), ("戦車", 5, None))
    assert table_text(Table("By class", ("class", "truth", "AP"), rows)).splitlines() == [
        "By class",
        "  class  truth     AP",
        "  cat    1,234  0.500",
        "  戦車       5      -",
    ]


def test_no_rows():
    assert table_text(Table("", ("a", "b"), ())) == "  a  b"
