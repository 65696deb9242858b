from __future__ import annotations

import warnings

import numpy as np
import pytest

from perception.detectors.decode import (
    ANY_CLASS_IOU,
    SAME_CLASS_IOU,
    _collapse,
    best_two,
    candidates,
    decode,
    join_passes,
    label,
    label_all,
    phrase_logits,
    scored,
    span_scores,
    worth_keeping,
)
from perception.prompts.grammar import NEGATIVE, Phrases, parse
from perception.types import Candidates, Detections

ONE = [0, 0, 10, 10]
FAR = [50, 50, 60, 60]


def shifted(iou: float) -> list[float]:
    """A box whose IoU with ``ONE`` is ``iou``: the same, moved to the right."""
    move = 10 * (1 - iou) / (1 + iou)
    return [move, 0, 10 + move, 10]


def find(text: str, *rows: tuple[list[float], list[float]], threshold: float = 0.3) -> Detections:
    """Decodes boxes, each with the score of every phrase."""
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([scores for _, scores in rows], np.float32)
    phrases = parse(text)
    logits = np.log(scores / (1 - scores)).reshape(-1, len(phrases))
    return decode(boxes, logits, phrases, threshold=threshold)


def test_a_phrase_scores_the_mean_of_its_tokens() -> None:
    tokens = np.array([[1, 2, 6, -3, 5], [0, 10, 20, 30, -4]], np.float32)
    have = phrase_logits(tokens, np.array([1, 3, 1]))
    assert have.dtype == np.float32
    np.testing.assert_allclose(have, [[1, 5 / 3, 5], [0, 20, -4]], rtol=1e-6)


@pytest.mark.parametrize("regions", [0, 1, 4])
def test_one_phrase_over_all_tokens(regions: int) -> None:
    tokens = np.full((regions, 6), 2, np.float32)
    assert phrase_logits(tokens, np.array([6])).tolist() == [[2]] * regions


@pytest.mark.parametrize(
    ("spans", "want"),
    [
        ([[1, 2], [3, 5]], [[0.9, 0.6], [0.5, 0.15]]),  # with begin, separators and end around
        ([[1, 2]], [[0.9], [0.5]]),
        ([[0, 1], [1, 2], [2, 3]], [[0.5, 0.9, 0.8], [0.5, 0.5, 0.8]]),  # side by side
        ([[0, 6]], [[3.9 / 6], [2.6 / 6]]),  # all there is
        ([[4, 6]], [[0.6], [0.35]]),  # up to the last token
    ],
)
def test_a_phrase_scores_the_mean_probability_of_its_own_tokens(
    spans: list[list[int]], want: list[list[float]]
) -> None:
    scores = np.array([[0.5, 0.9, 0.8, 0.5, 0.7, 0.5], [0.5, 0.5, 0.8, 0.1, 0.2, 0.5]])
    logits = np.log(scores / (1 - scores)).astype(np.float32)
    have = span_scores(logits, np.array(spans))
    assert have.dtype == np.float32
    np.testing.assert_allclose(have, want, atol=1e-6)


def test_span_scores_of_what_the_network_leaves_out() -> None:
    """Minus infinity stands for tokens that aren't there."""
    logits = np.array([[-np.inf, 0, -np.inf, -np.inf]], np.float32)
    np.testing.assert_allclose(span_scores(logits, np.array([[0, 2], [3, 4]])), [[0.25, 0]])


@pytest.mark.parametrize("regions", [0, 3])
def test_span_scores_of_any_number_of_regions(regions: int) -> None:
    have = span_scores(np.zeros((regions, 5), np.float32), np.array([[1, 2], [3, 4]]))
    assert have.tolist() == [[0.5, 0.5]] * regions


def test_the_better_attribute_wins_where_the_best_token_is_shared() -> None:
    """By the best token alone, "red car" and "blue car" are a tie."""
    scores = np.array([[0.5, 0.7, 0.9, 0.5, 0.2, 0.9, 0.5, 0.5]])  # . red car . blue car . .
    found = scored(
        np.float32([ONE]),
        span_scores(np.log(scores / (1 - scores)).astype(np.float32), np.array([[1, 3], [4, 6]])),
        floor=0.3,
    )
    detections, _ = label(found, parse("blue: blue car, red: red car"), threshold=0.3)
    assert detections.scores.tolist() == pytest.approx([0.8])
    assert detections.phrase_ids.tolist() == [0]


def test_scored_keeps_sound_boxes_from_the_floor_up() -> None:
    boxes = np.float32([ONE, [5, 5, 5, 9], FAR, ONE])
    scores = np.float32([[0.3, 0], [0.9, 0.9], [0.29, 0.1], [0.1, 0.8]])
    found = scored(boxes, scores, floor=0.3)
    assert found.queries.tolist() == [0, 3]
    assert found.scores.tolist() == scores[[0, 3]].tolist()
    assert len(scored(boxes[:0], scores[:0], floor=0.3)) == 0


def test_passes_are_joined_with_their_own_phrases() -> None:
    first = Candidates(np.float32([ONE]), np.float32([[0.9, 0.2]]), np.array([7]))
    second = Candidates(np.float32([FAR, ONE]), np.float32([[0.5], [0.95]]), np.array([0, 3]))
    found = join_passes([first, second], [np.array([0, 1]), np.array([2])], queries=20)
    np.testing.assert_allclose(found.scores, [[0.9, 0.2, 0], [0, 0, 0.5], [0, 0, 0.95]])
    assert found.queries.tolist() == [7, 20, 23]
    np.testing.assert_array_equal(found.boxes, np.float32([ONE, FAR, ONE]))


def test_one_pass_stays_as_it_is() -> None:
    one = Candidates(np.float32([ONE]), np.float32([[0.9, 0.2]]), np.array([7]))
    found = join_passes([one], [np.array([0, 1])], queries=20)
    for name in vars(one):
        np.testing.assert_array_equal(getattr(found, name), getattr(one, name))


def test_passes_without_a_candidate() -> None:
    none = Candidates(np.zeros((0, 4)), np.zeros((0, 1)), np.zeros(0, np.int64))
    found = join_passes([none, none], [np.array([0]), np.array([1])], queries=20)
    assert found.scores.shape == (0, 2)


def test_a_thing_found_in_two_passes_is_found_once() -> None:
    """The better label stays, whichever pass it is from; a negative of another pass drops it."""
    cat = Candidates(np.float32([ONE]), np.float32([[0.6]]), np.array([0]))
    dog = Candidates(np.float32([shifted(0.9)]), np.float32([[0.8]]), np.array([0]))
    own = [np.array([0]), np.array([1])]
    found, _ = label(join_passes([cat, dog], own, queries=9), parse("cat, dog"), threshold=0.3)
    assert found.class_ids.tolist() == [1]
    assert found.runner_up.tolist() == [0]
    np.testing.assert_allclose(found.margin, [0.2], atol=1e-6)
    dropped, _ = label(join_passes([cat, dog], own, queries=9), parse("cat, !dog"), threshold=0.3)
    assert len(dropped) == 0


def test_a_class_is_never_found_by_its_letters() -> None:
    """As a string, "car" is part of "carpet"; here each has tokens of its own."""
    tokens = np.array([[-9.0, 9.0, 9.0]], np.float32)  # car | car ##pet
    phrases = parse("car. carpet")
    found = decode(
        np.array([ONE], np.float32), phrase_logits(tokens, np.array([1, 2])), phrases, threshold=0.3
    )
    assert [phrases.classes[k] for k in found.class_ids] == ["carpet"]


def test_every_field_of_one_detection() -> None:
    found = find("cat. dog. cow", (ONE, [0.2, 0.9, 0.6]))
    np.testing.assert_array_equal(found.boxes, [ONE])
    np.testing.assert_allclose(found.scores, [0.9], atol=1e-6)
    assert found.class_ids.tolist() == [1]
    assert found.phrase_ids.tolist() == [1]
    assert found.runner_up.tolist() == [2]
    np.testing.assert_allclose(found.margin, [0.3], atol=1e-6)


class Counting(np.ndarray):
    """Counts the elements that numpy's functions go through."""

    elements = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):  # type: ignore[no-untyped-def]
        Counting.elements += sum(np.size(one) for one in inputs)
        plain = [one.view(np.ndarray) if isinstance(one, Counting) else one for one in inputs]
        return getattr(ufunc, method)(*plain, **options)


def test_synonyms_of_many_classes_are_gone_through_a_few_times_only() -> None:
    """Each class once went through the phrases of all."""
    classes, rng = 2000, np.random.default_rng(0)
    asked = rng.permutation(np.concatenate((np.repeat(np.arange(classes), 2), [NEGATIVE] * 5)))
    scores = rng.random((3, len(asked)), np.float32)
    by_class, phrases = _collapse(scores, asked.view(Counting), classes)
    assert Counting.elements <= 10 * len(asked)
    for class_id in range(0, classes, 97):
        own = np.flatnonzero(asked == class_id)
        np.testing.assert_array_equal(by_class[:, class_id], scores[:, own].max(axis=1))
        np.testing.assert_array_equal(phrases[:, class_id], own[scores[:, own].argmax(axis=1)])


def test_synonyms_collapse_into_their_class() -> None:
    found = find(
        "dog. vehicle: car | truck",
        (ONE, [0.1, 0.4, 0.8]),
        (FAR, [0.1, 0.7, 0.6]),
    )
    np.testing.assert_allclose(found.scores, [0.8, 0.7], atol=1e-6)
    assert found.class_ids.tolist() == [1, 1]
    assert found.phrase_ids.tolist() == [2, 1]
    assert found.runner_up.tolist() == [0, 0]  # a synonym is no rival
    np.testing.assert_allclose(found.margin, [0.7, 0.6], atol=1e-6)


@pytest.mark.parametrize("iou", [0.0, 0.4, 0.99])
def test_synonyms_that_share_a_thing_give_one_box(iou: float) -> None:
    found = find("v: car | truck", (ONE, [0.9, 0.1]), (shifted(iou), [0.1, 0.8]))
    assert len(found) == (1 if iou > SAME_CLASS_IOU else 2)


@pytest.mark.parametrize(
    ("person", "mannequin", "count"),
    [(0.8, 0.9, 0), (0.8, 0.8, 0), (0.8, 0.7, 1), (0.2, 0.1, 0), (0.2, 0.9, 0)],
)
def test_a_negative_drops_what_it_wins(person: float, mannequin: float, count: int) -> None:
    found = find("person. !mannequin", (ONE, [person, mannequin]))
    assert len(found) == count
    assert (found.runner_up == -1).all()  # a negative is never reported


@pytest.mark.parametrize(("iou", "count"), [(0.6, 1), (0.95, 0)])
def test_a_negative_takes_the_thing_and_not_only_the_box(iou: float, count: int) -> None:
    found = find("person. !mannequin", (ONE, [0.5, 0.9]), (shifted(iou), [0.6, 0.4]))
    assert len(found) == count


def test_what_a_stronger_class_wins_no_negative_takes() -> None:
    found = find("person. !mannequin", (ONE, [0.9, 0.1]), (shifted(0.9), [0.3, 0.6]))
    np.testing.assert_array_equal(found.boxes, [ONE])
    assert found.runner_up.tolist() == [-1]
    np.testing.assert_allclose(found.margin, [0.9], atol=1e-6)


def test_the_best_of_several_negatives_counts() -> None:
    assert len(find("a. !b. !c", (ONE, [0.6, 0.1, 0.7]))) == 0


@pytest.mark.parametrize(
    ("iou", "count"), [(0.0, 2), (SAME_CLASS_IOU - 0.01, 2), (SAME_CLASS_IOU + 0.01, 1), (1.0, 1)]
)
def test_one_class_repeats_itself_up_to_an_overlap(iou: float, count: int) -> None:
    found = find("cat. dog", (shifted(iou), [0.5, 0.1]), (ONE, [0.9, 0.1]))
    assert len(found) == count
    np.testing.assert_array_equal(found.boxes[0], ONE)  # the better one stays, and comes first


@pytest.mark.parametrize(
    ("iou", "count"), [(0.6, 2), (ANY_CLASS_IOU - 0.01, 2), (ANY_CLASS_IOU + 0.01, 1), (1.0, 1)]
)
def test_a_thing_has_one_label_across_classes(iou: float, count: int) -> None:
    found = find("cat. dog", (ONE, [0.9, 0.1]), (shifted(iou), [0.1, 0.7]))
    assert len(found) == count
    assert found.class_ids[0] == 0
    if count == 1:
        assert found.runner_up.tolist() == [1]
        np.testing.assert_allclose(found.margin, [0.2], atol=1e-6)


def test_a_displaced_box_is_a_runner_up_only_where_it_scores_higher() -> None:
    found = find("cat. dog. cow", (ONE, [0.9, 0.8, 0.1]), (shifted(0.9), [0.1, 0.1, 0.7]))
    assert found.runner_up.tolist() == [1]
    np.testing.assert_allclose(found.margin, [0.1], atol=1e-6)


def test_what_displaced_a_box_has_it_as_runner_up_and_not_its_neighbour() -> None:
    """The middle box is nearer to the last one, and yields to the first one."""
    found = find(
        "cat. dog. cow",
        ([0, 0, 100, 100], [0.9, 0.1, 0.1]),
        ([0, 0, 100, 80], [0.1, 0.6, 0.1]),
        ([0, 0, 100, 65], [0.1, 0.1, 0.4]),
    )
    assert found.class_ids.tolist() == [0, 2]
    assert found.runner_up[0] == 1
    np.testing.assert_allclose(found.margin, [0.3, 0.3], atol=1e-6)


def test_one_class_has_no_runner_up() -> None:
    found = find("cat", (ONE, [0.9]))
    assert found.runner_up.tolist() == [-1]
    np.testing.assert_allclose(found.margin, found.scores)


def test_the_threshold_itself_is_enough() -> None:
    boxes = np.array([ONE, FAR], np.float32)
    logits = np.array([[0.0], [-1e-3]], np.float32)
    assert len(decode(boxes, logits, parse("cat"), threshold=0.5)) == 1
    assert len(decode(boxes, logits, parse("cat"), threshold=0.51)) == 0
    assert len(decode(boxes, logits, parse("cat"), threshold=0.0)) == 2


def test_sorted_by_falling_score() -> None:
    rows = [([20 * k, 0, 20 * k + 10, 10], [s, s / 2]) for k, s in enumerate((0.4, 0.9, 0.6, 0.5))]
    np.testing.assert_allclose(find("a. b", *rows).scores, [0.9, 0.6, 0.5, 0.4], atol=1e-6)


@pytest.mark.parametrize("text", ["cat", "cat. dog", "v: cat | dog, !cow"])
@pytest.mark.parametrize("regions", [0, 3])
def test_nothing_found(text: str, regions: int) -> None:
    phrases = parse(text)
    boxes = np.tile(np.array(ONE, np.float32), (regions, 1))
    logits = np.full((regions, len(phrases)), -9, np.float32)
    found = decode(boxes, logits, phrases, threshold=0.3)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.runner_up.shape == found.margin.shape == (0,)


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [5, 5, 9, 5], [9, 5, 5, 9], [np.nan] * 4])
def test_a_box_without_an_inside_is_left_out(box: list[float]) -> None:
    assert len(find("cat", (box, [0.9]), (ONE, [0.8]))) == 1


@pytest.mark.parametrize("size", [1e3, 3e38, np.inf])
def test_extreme_logits_are_sound(size: float) -> None:
    boxes, logits = np.array([ONE, FAR], np.float32), np.array([[size, -size], [-size, -size]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(boxes, logits.astype(np.float32), parse("cat. dog"), threshold=0.3)
    assert found.scores.tolist() == [1]
    assert found.margin.tolist() == [1]


def test_a_region_of_nan_is_never_found() -> None:
    logits = np.array([[np.nan, 2.0], [3.0, -3.0]], np.float32)
    found = decode(np.array([ONE, FAR], np.float32), logits, parse("cat. dog"), threshold=0.3)
    np.testing.assert_array_equal(found.boxes, [FAR])


def test_as_many_phrases_as_a_large_data_set_has() -> None:
    """1,203 classes, each with a region of its own; the last one is found like the first."""
    count = 1203
    phrases = parse([f"class {k}" for k in range(count)])
    x = 20.0 * np.arange(count)
    boxes = np.stack((x, 0 * x, x + 10, 0 * x + 10), axis=1).astype(np.float32)
    logits = np.full((count, count), -6, np.float32) + np.eye(count, dtype=np.float32) * 9
    found = decode(boxes, logits, phrases, threshold=0.3)
    assert found.class_ids.tolist() == list(range(count))


def test_the_answer_does_not_depend_on_the_order_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (40, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(5, 40, (40, 2))), 1).astype(np.float32)
    logits = rng.normal(0, 2, (40, 4)).astype(np.float32)
    order = [2, 0, 3, 1]
    names = ("a", "b", "c", "d")
    one = decode(boxes, logits, parse(list(names)), threshold=0.3)
    moved = Phrases(tuple(names[k] for k in order), (0, 1, 2, 3), tuple(names[k] for k in order))
    other = decode(boxes, logits[:, order], moved, threshold=0.3)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    assert [names[k] for k in one.class_ids] == [moved.classes[k] for k in other.class_ids]


def crowd(seed: int, phrases: Phrases, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Boxes that overlap much, some empty, and phrase logits of which few are high."""
    random_numbers = np.random.default_rng(seed)
    corners = random_numbers.integers(0, 24, (count, 2))
    boxes = np.hstack([corners, corners + random_numbers.integers(0, 40, (count, 2))])
    return boxes.astype(np.float32), random_numbers.normal(-2, 2, (count, len(phrases))).astype(
        np.float32
    )


def test_candidates_are_the_sound_boxes_above_the_floor() -> None:
    boxes = np.float32([ONE, [5, 5, 5, 9], FAR, ONE])
    logits = np.float32([[0, -9], [9, 9], [-9, -9], [-9, 1]])
    found = candidates(boxes, logits, floor=0.5)
    assert found.queries.tolist() == [0, 3]
    assert found.scores[0, 0] == 0.5
    assert len(candidates(boxes[:0], logits[:0], floor=0.5)) == 0


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("text", ["a", "a, b, !c", "a: x | y, b, c, !d, !e"])
@pytest.mark.parametrize("iou", [0.5, 0.7, 0.9, 1.0])
def test_what_is_kept_is_labelled_as_all_of_it(seed: int, text: str, iou: float) -> None:
    """Also where only few scores are kept: at any threshold from the floor up, to the last bit."""
    phrases, floor = parse(text), np.float32(0.05)
    boxes, logits = crowd(seed, phrases)
    found = candidates(boxes, logits, floor=floor)
    kept = found[worth_keeping(found, phrases, same_class_iou=iou)]
    stored = (kept.scores >= floor) | best_two(kept, phrases)
    sparse = Candidates(kept.boxes, np.where(stored, kept.scores, 0), kept.queries)
    for threshold in (floor, 0.3, 0.6):
        want = decode(boxes, logits, phrases, threshold=threshold)
        have, rows = label(sparse, phrases, threshold=threshold)
        for name in vars(want):
            np.testing.assert_array_equal(getattr(have, name), getattr(want, name), name)
        np.testing.assert_array_equal(boxes[kept.queries[rows]], want.boxes)


def test_a_score_that_was_not_kept_is_no_runner_up() -> None:
    found = Candidates(np.float32([ONE]), np.float32([[0.8, 0]]), np.array([3]))
    (detections, rows) = label(found, parse("a, b"), threshold=0.3)
    assert detections.runner_up.tolist() == [-1]
    assert rows.tolist() == [0]


def test_labels_with_less_suppression() -> None:
    found = Candidates(
        np.float32([ONE, shifted(0.8), FAR]), np.float32([[0.9], [0.8], [0.7]]), np.arange(3)
    )
    usual, _ = label(found, parse("a"), threshold=0.3)
    looser, rows = label(found, parse("a"), threshold=0.3, same_class_iou=0.9, any_class_iou=0.9)
    assert (len(usual), len(looser)) == (2, 3)
    assert rows.tolist() == [0, 1, 2]


def test_all_labels_of_a_region() -> None:
    found = Candidates(
        np.float32([ONE, shifted(0.8), FAR]),
        np.float32([[0.9, 0.5, 0.1], [0.8, 0.6, 0.2], [0.2, 0.4, 0.35]]),
        np.arange(3),
    )
    labels, rows = label_all(found, parse("a, b, c"), threshold=0.3)
    assert rows.tolist() == [0, 1, 2, 2]
    assert labels.class_ids.tolist() == labels.phrase_ids.tolist() == [0, 1, 1, 2]
    np.testing.assert_array_equal(labels.scores, np.float32([0.9, 0.6, 0.4, 0.35]))
    np.testing.assert_array_equal(labels.boxes, found.boxes[rows])
    assert labels.runner_up.tolist() == [1, 0, 2, 1]
    np.testing.assert_allclose(labels.margin, [0.4, -0.2, 0.05, -0.05], atol=1e-6)


def test_all_labels_but_those_that_a_negative_beats() -> None:
    found = Candidates(np.float32([ONE]), np.float32([[0.9, 0.5, 0.7, 0.5]]), np.arange(1))
    labels, _ = label_all(found, parse("a, b, c, !d"), threshold=0.3)
    assert labels.class_ids.tolist() == [0, 2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.05, 0.3])
def test_all_labels_of_one_class_are_the_best_ones(seed: int, threshold: float) -> None:
    """Whatever its phrases: there is nothing else that a region could be called."""
    phrases = parse("a: x | y, !d")
    boxes, logits = crowd(seed, phrases)
    found = candidates(boxes, logits, floor=threshold)
    every, _ = label_all(found, phrases, threshold=threshold, same_class_iou=0.4)
    best, _ = label(found, phrases, threshold=threshold, same_class_iou=0.4)
    assert len(every) > 3
    # Of boxes that the negative wins, some took another box's place.
    assert set(map(tuple, best.boxes)) <= set(map(tuple, every.boxes))
    at = [every.boxes.tolist().index(box) for box in best.boxes.tolist()]
    for name in ("scores", "class_ids", "phrase_ids"):
        np.testing.assert_array_equal(getattr(every[at], name), getattr(best, name), name)


def test_no_label_at_all() -> None:
    labels, rows = label_all(
        Candidates(np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32), np.arange(0)),
        parse("a, b"),
        threshold=0.3,
    )
    assert (len(labels), len(rows)) == (0, 0)
