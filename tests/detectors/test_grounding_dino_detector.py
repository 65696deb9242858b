from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoTokenizer, GroundingDinoProcessor
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoObjectDetectionOutput,
)

from perception.detectors.decode import label, scored, span_scores
from perception.detectors.grounding_dino.detector import GroundingDinoDetector
from perception.detectors.load import load_detector
from perception.detectors.onnx_files import boxes_in_image
from perception.errors import PromptError
from perception.prompts.grammar import Phrases, parse
from perception.types import Candidates

from .published_tiny import (
    QUERIES,
    TEXT_LIMIT,
    letter_names,
    lvis_names,
    pictures,
    saved,
    unicode_names,
)

FAMILIES = ("grounding-dino", "mm-grounding-dino")
TEXT = 'cat. red car, "dr. pepper", blue: a blue dog'


@pytest.fixture(scope="module", params=FAMILIES)
def detector(request: pytest.FixtureRequest) -> GroundingDinoDetector:
    found = load_detector(request.param, saved(request.param), name="tiny")
    assert isinstance(found, GroundingDinoDetector)
    assert found._limit == 256
    return found


@pytest.fixture
def short_texts(detector: GroundingDinoDetector) -> Iterator[None]:
    """Texts of a few phrases each."""
    before, detector._limit = detector._limit, TEXT_LIMIT
    detector._passes._known.clear()
    yield
    detector._limit = before
    detector._passes._known.clear()


def assert_same(one: Candidates, other: Candidates) -> None:
    np.testing.assert_array_equal(one.queries, other.queries)
    np.testing.assert_allclose(one.boxes, other.boxes, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_what_it_says_of_itself(detector: GroundingDinoDetector) -> None:
    assert detector.name == "tiny"
    assert not detector.phrases_independent
    assert detector.side == 64


def test_boxes_lie_in_their_pictures(detector: GroundingDinoDetector) -> None:
    images = pictures((90, 120), (120, 90), (1, 500))
    for image, found in zip(images, detector.candidates(images, parse(TEXT), floor=0), strict=True):
        height, width = image.shape[:2]
        assert 0 < len(found) <= QUERIES
        assert found.scores.shape[1] == 4
        assert (found.scores >= 0).all()
        assert (found.scores <= 1).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [width, height, width, height]).all()
        assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()


def test_detections_are_the_labelled_candidates(detector: GroundingDinoDetector) -> None:
    images, phrases = pictures((90, 120)), parse(TEXT)
    (found,) = detector.candidates(images, phrases, floor=0.01)
    best = float(np.median(found.scores.max(axis=1)))
    (have,) = detector.detect(images, phrases, threshold=best)
    want, _ = label(found, phrases, threshold=best)
    assert len(have) > 0
    for name in vars(want):
        np.testing.assert_array_equal(getattr(have, name), getattr(want, name))


def test_no_picture_and_nothing_found(detector: GroundingDinoDetector) -> None:
    assert detector.detect([], parse("cat")) == []
    (found,) = detector.detect(pictures((90, 120)), parse("cat"), threshold=1.01)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    "text",
    [
        "CAT, Red  Car. “Dr. Pepper”; blue: A BLUE DOG...",
        'cat\nred car\n"dr. pepper"\nblue:a blue dog',
    ],
)
def test_case_and_punctuation_change_nothing(detector: GroundingDinoDetector, text: str) -> None:
    images = pictures((90, 120))
    (want,) = detector.candidates(images, parse(TEXT), floor=0)
    (have,) = detector.candidates(images, parse(text), floor=0)
    for name in vars(want):
        np.testing.assert_array_equal(getattr(have, name), getattr(want, name))


def test_the_order_of_phrases_in_a_text_changes_nothing(detector: GroundingDinoDetector) -> None:
    images = pictures((90, 120))
    (one,) = detector.candidates(images, parse(["cat", "red car", "dr. pepper"]), floor=0)
    (other,) = detector.candidates(images, parse(["red car", "dr. pepper", "cat"]), floor=0)
    assert_same(one, Candidates(other.boxes, other.scores[:, [2, 0, 1]], other.queries))


def test_several_pictures_as_one_by_one(
    detector: GroundingDinoDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they go through together, as on a GPU."""
    images, phrases = pictures((90, 120), (120, 90), (64, 64), (90, 120)), parse(TEXT)
    alone = [detector.candidates([image], phrases, floor=0)[0] for image in images]
    monkeypatch.setattr(
        "perception.detectors.grounding_dino.detector.batches", lambda images, device: [images]
    )
    for one, other in zip(alone, detector.candidates(images, phrases, floor=0), strict=True):
        assert_same(one, other)


@pytest.mark.usefixtures("short_texts")
def test_a_text_is_encoded_once_and_a_picture_once(
    detector: GroundingDinoDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, calls = detector._network, {"encode_text": 0, "encode_images": 0, "fuse": 0}
    detector._texts._known.clear()
    for name in calls:
        monkeypatch.setattr(network, name, counted(getattr(network, name), calls, name))
    phrases = parse([f"red car {letter}" for letter in "abcdefghijklm"])  # 13 * 4 tokens
    texts = len(detector._pack(phrases.phrases))
    assert texts == 2
    detector.candidates(pictures((64, 64), (64, 96), (96, 64)), phrases, floor=0.5)
    assert calls == {"encode_text": texts, "encode_images": 3, "fuse": 3 * texts}
    detector.candidates(pictures((64, 64)), phrases, floor=0.5)
    assert calls["encode_text"] == texts


def counted(function, calls, name):
    def call(*args):
        calls[name] += 1
        return function(*args)

    return call


@pytest.mark.usefixtures("short_texts")
def test_several_texts_give_what_each_gives_alone(detector: GroundingDinoDetector) -> None:
    names = [f"red car {letter}" for letter in "abcdefghijklm"]
    images = pictures((90, 120))
    (found,) = detector.candidates(images, parse(names), floor=0)
    texts = detector._pack(tuple(names))
    for number, text in enumerate(texts):
        own = [names[phrase] for phrase in text.phrases]
        (alone,) = detector.candidates(images, parse(own), floor=0)
        rows = found.queries // QUERIES == number
        part = Candidates(
            found.boxes[rows], found.scores[rows][:, text.phrases], found.queries[rows] % QUERIES
        )
        assert_same(part, alone)
        others = np.delete(found.scores[rows], text.phrases, axis=1)
        assert not others.any()


@pytest.mark.parametrize(
    "names",
    [
        letter_names,
        pytest.param(unicode_names, marks=pytest.mark.slow),
        pytest.param(lvis_names, marks=pytest.mark.slow),
    ],
)
def test_all_of_1203_names(detector: GroundingDinoDetector, names) -> None:
    """None vanishes: each is scored by some box, in a text of its own neighbours."""
    asked = parse(names(1203))
    assert len(asked) == 1203
    texts = detector._pack(asked.phrases)
    assert np.concatenate([text.phrases for text in texts]).tolist() == list(range(1203))
    assert 10 < len(texts) < 200  # a name has more tokens here than with a real vocabulary
    (found,) = detector.candidates(pictures((64, 64)), asked, floor=0)
    assert (found.scores.max(axis=0) > 0).all()
    assert len(np.unique(found.queries)) == len(found)


@pytest.mark.usefixtures("short_texts")
def test_a_phrase_longer_than_a_text(detector: GroundingDinoDetector) -> None:
    with pytest.raises(PromptError, match=f"30 tokens long, at most {TEXT_LIMIT - 3} fit"):
        detector.candidates(pictures((64, 64)), parse(["a " * 30]), floor=0)


def test_a_phrase_that_the_vocabulary_doesnt_know(detector: GroundingDinoDetector) -> None:
    with pytest.raises(PromptError, match='"猫" has words that tiny doesn\'t know'):
        detector.candidates(pictures((64, 64)), parse("cat, 猫"), floor=0)


# Against transformers' own post-processing, on logits that are made up.


@pytest.fixture(scope="module")
def processor() -> GroundingDinoProcessor:
    folder = saved("grounding-dino")
    return GroundingDinoProcessor(
        AutoImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    )


@pytest.fixture(scope="module")
def grounding() -> GroundingDinoDetector:
    found = load_detector("grounding-dino", saved("grounding-dino"), name="tiny")
    assert isinstance(found, GroundingDinoDetector)
    return found


BOXES = np.float32([[0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], [0.8, 0.8, 0.3, 0.3]])
HIGH, LOW = 2.0, -4.0


def both(
    grounding: GroundingDinoDetector,
    processor: GroundingDinoProcessor,
    phrases: Phrases,
    high: list[list[int]],
) -> tuple[list[str], list[str], list[float], list[float]]:
    """Labels, theirs and ours, then scores; high: which tokens' logits are high for each box."""
    (text,) = grounding._pack(phrases.phrases)
    logits = np.full((len(high), len(text.ids)), LOW, np.float32)
    for row, tokens in zip(logits, high, strict=True):
        row[tokens] = HIGH
    out = GroundingDinoObjectDetectionOutput(
        logits=torch.from_numpy(np.pad(logits, ((0, 0), (0, 9)), constant_values=-np.inf))[None],
        pred_boxes=torch.from_numpy(BOXES[: len(high)])[None],
        input_ids=torch.from_numpy(text.ids)[None],
    )
    (theirs,) = processor.post_process_grounded_object_detection(
        out, threshold=0.3, text_threshold=0.3, target_sizes=[(100, 100)]
    )
    found = scored(
        boxes_in_image(BOXES[: len(high)], 100, 100), span_scores(logits, text.spans), floor=0.3
    )
    ours, rows = label(found, phrases, threshold=0.3)
    order = np.argsort(rows)
    np.testing.assert_allclose(ours.boxes[order], theirs["boxes"], atol=1e-4)
    return (
        theirs["text_labels"],
        [phrases.classes[k] for k in ours.class_ids[order]],
        theirs["scores"].tolist(),
        ours.scores[order].tolist(),
    )


def test_as_transformers_where_a_label_is_one_word(
    grounding: GroundingDinoDetector, processor: GroundingDinoProcessor
) -> None:
    """[CLS] cat . dog . car . [SEP]"""
    theirs, ours, their_scores, our_scores = both(
        grounding, processor, parse("cat, dog, car"), [[3], [1], [5]]
    )
    assert theirs == ours == ["dog", "cat", "car"]
    assert our_scores == pytest.approx(their_scores)


@pytest.mark.parametrize(
    ("text", "high", "theirs_wrong", "right"),
    [
        # Two phrases in one label: which of them a user asked for, nobody knows.
        ("cat, dog", [[1, 3]], "cat dog", "cat"),
        # A part of a word.
        ("carpet, cat", [[2]], "##pet", "carpet"),
        # A part of a phrase.
        ("red car, cat", [[2]], "car", "red car"),
        # The separator alone, or the end: no name at all, or a wrong one.
        ("cat, dog", [[3, 2]], ". dog", "dog"),
    ],
)
def test_where_transformers_is_wrong(
    grounding: GroundingDinoDetector,
    processor: GroundingDinoProcessor,
    text: str,
    high: list[list[int]],
    theirs_wrong: str,
    right: str,
) -> None:
    theirs, ours, *_ = both(grounding, processor, parse(text), high)
    assert theirs == [theirs_wrong]
    assert ours == [right]
