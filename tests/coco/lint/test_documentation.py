"""``docs/verify.md`` lists every kind of fault as the code has it."""

from pathlib import Path

from perception.coco.lint.faults import KINDS

DOCUMENT = Path(__file__).parents[3] / "docs" / "verify.md"


def table():
    """The table that belongs there; on a difference pytest shows what to write."""
    rows = ["| code | severity | what it means | what `--fix` does |", "|---|---|---|---|"]
    for code, (severity, says, mend) in KINDS.items():
        rows.append(f"| `{code}` | {severity.value} | {_cell(says)} | {_cell(mend) or '-'} |")
    return rows


def _cell(text):
    return text.replace("|", "\\|").replace("_", "\\_").replace("<", "&lt;")


def test_the_table_is_that_of_the_code():
    lines = DOCUMENT.read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("|")] == table()
