"""Checks of ``coco``, ``lvis``, ``concepts`` and ``grounding`` on the drawn truth, and on any.

Each expected figure is what its comment says, and is in no way made by what is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from perception.evaluate.check import Check, Figure
from perception.evaluate.concepts import measure_concepts
from perception.evaluate.ground_truth import Truth
from perception.evaluate.grounding import measure_grounding, ranked_of
from perception.evaluate.phrase_boxes import phrases_of
from perception.evaluate.precision import COCO_MAX_DETECTIONS as COCO_MOST
from perception.evaluate.precision import LVIS_MAX_DETECTIONS as LVIS_MOST
from perception.evaluate.precision import PrecisionResult, measure_coco, measure_lvis
from perception.evaluate.predictions import Answers
from perception.evaluate.synthetic import (
    drawn_truth,
    every_other_picture,
    nothing,
    same,
    shifted,
    shrunk,
    swapped,
    with_one_wrong,
)
from perception.ops.masks import rle_area

_DISC = 1
_OF_A_STAR = 5
"""An image of stars, in which there is no disc."""


def coco_checks() -> list[Check]:
    """Average precision by COCO's rules."""
    truth = drawn_truth()
    right = same(truth)
    rows: list[tuple[str, Answers, Mapping[str, float]]] = [
        ("the truth itself", right, {"AP": 1, "AP50": 1, "AP75": 1, "APm": 1, "AR100": 1}),
        # One answer an image and class: one of the two things in it.
        ("one answer of two", right, {"AR1": 0.5, "AR10": 1}),
        # IoU 32/48 = 0.67, enough for 0.5, 0.55, 0.6 and 0.65: four of ten.
        ("shifted by a fifth", shifted(right, 8), {"AP": 0.4, "AP50": 1, "AP75": 0}),
        # IoU 36^2 / 40^2 = 0.81, enough for seven of ten.
        ("a tenth smaller", shrunk(right, 2), {"AP": 0.7, "AP50": 1, "AP75": 1}),
        ("nothing", nothing(right), {"AP": 0, "AP50": 0, "AR100": 0}),
        # One class of three is still right.
        ("two labels swapped", swapped(right), {"AP": 1 / 3, "AR100": 1 / 3}),
        # Half of each class, without a mistake: precision 1 at recalls 0, 0.01, ..., 0.5.
        ("every other image", every_other_picture(right), {"AP": 51 / 101, "AR100": 0.5}),
        # Of discs the first is wrong: at best 4 of 5 are right, which counts at every recall.
        (
            "one wrong, and first",
            with_one_wrong(right, _OF_A_STAR, _DISC),
            {"AP": (1 + 1 + 4 / 5) / 3, "AR100": 1},
        ),
    ]
    return [
        check
        for what, answers, expected in rows
        for check in _precision_checks("coco", what, measure_coco(truth, answers), expected)
    ]


def lvis_checks() -> list[Check]:
    """Federated average precision by LVIS' rules."""
    truth = drawn_truth(absent=True)
    right = same(truth)
    wrong = with_one_wrong(right, _OF_A_STAR, _DISC)
    unknown = _changed(truth, absent=frozenset({2}))
    not_all = _changed(truth, absent=frozenset({1, 2}), open_ids=frozenset({_DISC}))
    first = {"AP": (4 / 5 + 1 + 1) / 3, "APr": 4 / 5, "APc": 1.0, "APf": 1.0}
    perfect = {"AP": 1.0, "APr": 1.0, "AR300": 1.0}
    rows = [
        ("the truth itself", truth, right, perfect),
        ("shifted by a fifth", truth, shifted(right, 8), {"AP": 0.4, "AP50": 1.0, "AP75": 0.0}),
        ("two labels swapped", truth, swapped(right), {"AP": 1 / 3, "APr": 0.0, "APf": 1.0}),
        # Known to be absent: wrong. Not known, or not all are marked: neither right nor wrong.
        ("a wrong one, absence verified", truth, wrong, first),
        ("a wrong one, absence unknown", unknown, wrong, perfect),
        ("a wrong one, not all are marked", not_all, wrong, perfect),
    ]
    return [
        check
        for what, against, answers, expected in rows
        for check in _precision_checks("lvis", what, measure_lvis(against, answers), expected)
    ]


def _changed(
    truth: Truth, *, absent: frozenset[int], open_ids: frozenset[int] = frozenset()
) -> Truth:
    """What is known of one image changed."""
    pictures = tuple(
        replace(one, absent=absent, open=open_ids) if one.id == _OF_A_STAR else one
        for one in truth.pictures
    )
    return replace(truth, pictures=pictures)


def concept_checks() -> list[Check]:
    """Concept-level F1: presence, localisation, their product."""
    truth = drawn_truth()
    right = _sure(same(truth))
    rows: list[tuple[str, Answers, tuple[Figure, Figure, Figure]]] = [
        ("the truth itself", right, (1, 1, 1)),
        ("shifted by a fifth", shifted(right, 8), (1, 0.4, 0.4)),
        ("a tenth smaller", shrunk(right, 2), (1, 0.7, 0.7)),
        # Nothing is ever answered: no correlation.
        ("nothing", nothing(right), (0, 0, 0)),
        # Pairs: 2 right, 4 missed, 4 wrong, 8 rightly silent: 2*8 - 4*4 = 0. Instances of present
        # pairs: 4 right, 8 missed: 8 / (8 + 8).
        ("two labels swapped", swapped(right), (0, 0.5, 0)),
        # Pairs: 3 right, 3 missed, 12 rightly silent: 36 / sqrt(3 * 6 * 12 * 15). Instances: 6
        # right, 6 missed: 12 / 18.
        (
            "every other image",
            every_other_picture(right),
            (36 / 3240**0.5, 2 / 3, 36 / 3240**0.5 * 2 / 3),
        ),
        # Pairs: 6 right, 1 wrong, 11 rightly silent: 66 / sqrt(7 * 6 * 12 * 11). It isn't of a
        # present pair: localisation doesn't see it.
        (
            "one wrong where there is none",
            with_one_wrong(right, _OF_A_STAR, _DISC),
            (66 / 5544**0.5, 1, 66 / 5544**0.5),
        ),
    ]
    checks = []
    for what, answers, expected in rows:
        for kind, figures in measure_concepts(truth, answers).figures.items():
            got = (figures.presence.mcc, figures.pmf1(), figures.cgf1())
            for name, want, have in zip(("MCC", "pmF1", "cgF1"), expected, got, strict=True):
                checks.append(Check(f"concepts: {what}, {kind} {name}", want, have))
    return checks


def grounding_checks() -> list[Check]:
    """Recall of phrases among the first boxes."""
    truth = drawn_truth()
    right = same(truth)
    rows: list[tuple[str, Answers, Mapping[int, float]]] = [
        ("the truth itself", right, {1: 1, 5: 1, 10: 1}),
        # IoU 32/48 is enough, 24/56 = 0.43 is not; nor is 20^2 / 40^2.
        ("shifted by a fifth", shifted(right, 8), {1: 1, 10: 1}),
        ("shifted by two fifths", shifted(right, 16), {1: 0, 10: 0}),
        ("half as large", shrunk(right, 10), {1: 0, 10: 0}),
        ("nothing", nothing(right), {1: 0, 10: 0}),
        ("two labels swapped", swapped(right), {1: 1 / 3, 10: 1 / 3}),
        # In one image of six, the second box is the first that is right.
        ("one wrong, and first", with_one_wrong(right, 1, _DISC), {1: 5 / 6, 5: 1}),
    ]
    checks = []
    for what, answers, expected in rows:
        ranked = ranked_of(answers, truth)
        result = measure_grounding(phrases_of(truth), ranked, info={}, sizes={})
        for k, want in expected.items():
            checks.append(Check(f"grounding: {what}, R@{k}", want, result.recall(k)))
    # The box around both things is 130 wide, each of the two 40: 0.31, whichever is taken.
    merged = measure_grounding(phrases_of(truth), ranked_of(right, truth), info={}, sizes={})
    for k in (1, 10):
        checks.append(
            Check(f"grounding: the truth itself, merged, R@{k}", 0, merged.recall(k, "merged"))
        )
    return checks


def truth_checks(truth: Truth) -> list[Check]:
    """A truth against itself.

    What can't give 1 is left out: AP by COCO's rules where an image has more than 100 instances of
    a class, by LVIS' more than 300 of all; figures of masks where one covers no pixel; MCC where
    no pair, or each one, is present.
    """
    if truth.has_masks and not all(one.mask and rle_area(one.mask) for one in truth.instances):
        truth = replace(truth, instances=tuple(replace(one, mask=None) for one in truth.instances))
    right, name, checks = same(truth), f"{truth.name} itself", []
    by_class = Counter((one.picture, one.category) for one in right.found)
    by_picture = Counter(one.picture for one in right.found)
    if max(by_class.values()) <= max(COCO_MOST):
        checks += _precision_checks("coco", name, measure_coco(truth, right), {"AP": 1})
    if truth.is_federated and max(by_picture.values()) <= LVIS_MOST:
        checks += _precision_checks("lvis", name, measure_lvis(truth, right), {"AP": 1})
    for kind, figures in measure_concepts(truth, _sure(right)).figures.items():
        mcc = figures.presence.mcc
        checks.append(Check(f"concepts: {name}, {kind} pmF1", 1, figures.pmf1()))
        if mcc is not None:
            checks.append(Check(f"concepts: {name}, {kind} MCC", 1, mcc))
    ranked = ranked_of(right, truth)
    grounded = measure_grounding(phrases_of(truth), ranked, info={}, sizes={})
    checks.append(Check(f"grounding: {name}, R@1", 1, grounded.recall(1)))
    return checks


def _sure(answers: Answers) -> Answers:
    """All with a score of 1."""
    return replace(answers, found=tuple(replace(one, score=1.0) for one in answers.found))


def _precision_checks(
    measure: str, what: str, result: PrecisionResult, expected: Mapping[str, float]
) -> list[Check]:
    return [
        Check(f"{measure}: {what}, {one.kind} {name}", want, one.figures[name])
        for one in result.kinds
        for name, want in expected.items()
    ]


INSTANCE_CHECKS: Sequence[Callable[[], list[Check]]] = (
    coco_checks,
    lvis_checks,
    concept_checks,
    grounding_checks,
)
