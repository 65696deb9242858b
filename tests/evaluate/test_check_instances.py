"""Each measurement of what is found gives what arithmetic says."""

import pytest

from evaluate.coco_files import coco, row, write
from perception.evaluate.check import Check, CheckResult
from perception.evaluate.check_instances import INSTANCE_CHECKS, truth_checks
from perception.evaluate.ground_truth import read_truth


@pytest.mark.parametrize("source", INSTANCE_CHECKS, ids=lambda source: source.__name__)
def test_what_arithmetic_says(source):
    checks = source()
    assert len(checks) > 10
    assert [check for check in checks if not check.passed] == []


def test_a_check_can_fail():
    assert Check("a", 0.5, 0.5 + 1e-9).passed
    assert not Check("a", 0.5, 0.51).passed
    assert Check("a", 0.5, 0.51, slack=0.02).passed
    assert Check("a", None, None).passed
    assert not Check("a", None, 0.0).passed
    result = CheckResult((Check("a", 1, 0), Check("b", 1, 1)))
    assert result.title == "2 checks: 1 failed"
    assert [row[-1] for row in result.tables()[0].rows] == ["FAILED", "ok"]
    assert result.to_json()["passed"] is False


def test_a_truth_against_itself(tmp_path):
    crowd = row(2, 1, (60, 10, 50, 80), iscrowd=1)
    content = coco([row(1, 1, (0, 0, 20, 30)), row(1, 2, (30, 10, 50, 60)), crowd])
    checks = truth_checks(read_truth(write(tmp_path / "t.json", content)))
    assert [check for check in checks if not check.passed] == []
    assert {check.what.split(":")[0] for check in checks} == {"coco", "concepts", "grounding"}


def test_what_a_truth_cannot_give_is_left_out(tmp_path):
    many = [row(1, 1, (n % 10 * 10, n // 10 * 8, 9, 7)) for n in range(101)]
    checks = truth_checks(read_truth(write(tmp_path / "t.json", coco(many))))
    assert [check.what for check in checks if "coco" in check.what] == []
    assert [check for check in checks if not check.passed] == []
    empty = row(1, 1, (0, 0, 20, 20)) | {"segmentation": {"size": [100, 120], "counts": [12000]}}
    checks = truth_checks(read_truth(write(tmp_path / "e.json", coco([empty]))))
    assert not any("mask" in check.what for check in checks)
    assert not any("MCC" in check.what and check.got is None for check in checks)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["coco_val206/instances.json", "lvis71/lvis_val_present.json"], ids=["coco", "lvis"]
)
def test_real_truth_against_itself(data, name):
    checks = truth_checks(read_truth(data / name))
    assert [check for check in checks if not check.passed] == []
    assert any(check.what.startswith("coco") for check in checks)
