from __future__ import annotations

from perception.checkpoints.state_dict import first_few, misfits, reported_misfits


def test_nothing_wrong() -> None:
    assert misfits({"missing": [], "unknown": []}) == ""
    report = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set()}
    assert reported_misfits(report) == ""


def test_long_lists_are_cut() -> None:
    assert first_few("abcde") == "a, b, c, d, e"
    assert first_few("abcdefg") == "a, b, c, d, e and 2 more"


def test_a_report() -> None:
    report = {
        "missing_keys": {"b", "a"},
        "unexpected_keys": ["c"],
        "mismatched_keys": [("e", [1], [2, 3]), ("d", (7,), (8,))],
        "error_msgs": ["one\n  line"],
    }
    assert reported_misfits(report) == (
        "missing: a, b; unknown: c; wrong shape: d (7,) instead of (8,), e (1,) instead of (2, 3); "
        "unreadable: one line"
    )
