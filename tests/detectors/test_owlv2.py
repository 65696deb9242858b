from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoTokenizer, Owlv2Processor

from perception.detectors.load import load_detector
from perception.detectors.owlv2.detector import Owlv2Detector
from perception.errors import PromptError
from perception.prompts.grammar import parse

from .published_tiny import build, letter_names, pictures, saved

NAMES = letter_names(1203)


@pytest.fixture(scope="module")
def detector() -> Owlv2Detector:
    found = load_detector("owlv2", saved("owlv2"), name="tiny")
    assert isinstance(found, Owlv2Detector)
    return found


@pytest.fixture(scope="module")
def processor() -> Owlv2Processor:
    return Owlv2Processor(
        AutoImageProcessor.from_pretrained(saved("owlv2")),
        AutoTokenizer.from_pretrained(saved("owlv2")),
    )


@pytest.mark.parametrize("image_hw", [(90, 120), (120, 90), (32, 32), (20, 30)])
def test_boxes_and_scores_are_those_of_transformers(
    detector: Owlv2Detector, processor: Owlv2Processor, image_hw: tuple[int, int]
) -> None:
    names, (image,) = ["cat", "red car", "dog"], pictures(image_hw)
    inputs = processor(
        images=image,
        text=[[f"a photo of a {name}" for name in names]],
        return_tensors="pt",
        max_length=16,
    )
    out = build("owlv2")(**inputs)
    (want,) = processor.post_process_grounded_object_detection(
        out, threshold=0.0, target_sizes=[image_hw]
    )
    (have,) = detector.candidates([image], parse(names), floor=0)
    np.testing.assert_allclose(
        have.scores.max(axis=1), want["scores"].numpy()[have.queries], atol=1e-4
    )
    assert have.scores.argmax(axis=1).tolist() == want["labels"].numpy()[have.queries].tolist()
    height, width = image_hw
    clipped = want["boxes"].numpy().clip(0, [width, height, width, height])
    np.testing.assert_allclose(have.boxes, clipped[have.queries], atol=1e-2)
    empty = (clipped[:, :2] >= clipped[:, 2:]).any(axis=1)  # beside the image
    assert np.flatnonzero(~empty).tolist() == have.queries.tolist()


def test_a_phrase_is_independent_of_the_others(detector: Owlv2Detector) -> None:
    assert detector.phrases_independent
    images = pictures((90, 120))
    (alone,) = detector.candidates(images, parse("red car"), floor=0)
    (among,) = detector.candidates(images, parse(["cat", "red car", *NAMES[:50]]), floor=0)
    np.testing.assert_array_equal(alone.queries, among.queries)
    np.testing.assert_array_equal(alone.boxes, among.boxes)
    np.testing.assert_allclose(alone.scores[:, 0], among.scores[:, 1], atol=1e-5)


def test_several_pictures_as_one_by_one(
    detector: Owlv2Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, phrases = pictures((90, 120), (120, 90), (32, 32)), parse("cat. dog")
    alone = detector.candidates(images, phrases, floor=0)
    monkeypatch.setattr(
        "perception.detectors.owlv2.detector.batches", lambda images, device: [images]
    )
    for one, other in zip(alone, detector.candidates(images, phrases, floor=0), strict=True):
        np.testing.assert_array_equal(one.queries, other.queries)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_case_and_punctuation_change_nothing(detector: Owlv2Detector) -> None:
    images = pictures((90, 120))
    (want,) = detector.candidates(images, parse("cat, red car"), floor=0)
    (have,) = detector.candidates(images, parse("CAT; Red  Car..."), floor=0)
    np.testing.assert_array_equal(have.scores, want.scores)


def test_a_phrase_is_encoded_once(detector: Owlv2Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    tokens = detector._tokens
    monkeypatch.setattr(
        detector, "_tokens", lambda phrases: asked.append(len(phrases)) or tokens(phrases)
    )
    detector._queries._known.clear()
    detector.candidates(pictures((32, 32)), parse("cat. dog"), floor=0)
    detector.candidates(pictures((32, 32), (32, 32)), parse("cat. dog. car"), floor=0)
    assert asked == [2, 1]


def test_all_of_1203_names_at_once(detector: Owlv2Detector) -> None:
    images = pictures((32, 32))
    (found,) = detector.candidates(images, parse(NAMES), floor=0)
    assert found.scores.shape == (len(found), 1203)
    assert len(found) > 0
    for number in (0, 600, 1202):
        (alone,) = detector.candidates(images, parse([NAMES[number]]), floor=0)
        np.testing.assert_allclose(found.scores[:, number], alone.scores[:, 0], atol=1e-5)


def test_a_long_phrase_is_asked_without_the_template(detector: Owlv2Detector) -> None:
    short, long = "cat", "a b c d e f g h i j k l"  # 12 tokens; the template has 4
    tokenizer = detector._tokenizer
    templated, bare = detector._tokens([short, long])
    assert tokenizer.decode(templated, skip_special_tokens=True).startswith("a photo of a cat")
    assert "photo" not in tokenizer.decode(bare)
    assert int(bare.argmax()) == 13  # the end, after the beginning and 12 tokens


def test_a_phrase_longer_than_the_text_encoder(detector: Owlv2Detector) -> None:
    with pytest.raises(PromptError, match="15 tokens long, at most 14 fit"):
        detector.candidates(pictures((32, 32)), parse(["a " * 15]), floor=0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_near(detector: Owlv2Detector, precision: str) -> None:
    lower = load_detector("owlv2", saved("owlv2"), name="tiny", precision=precision)
    images, phrases = pictures((90, 120)), parse("cat. dog")
    (want,) = detector.candidates(images, phrases, floor=0)
    (have,) = lower.candidates(images, phrases, floor=0)
    assert have.boxes.dtype == have.scores.dtype == np.float32
    same = np.intersect1d(want.queries, have.queries)
    assert len(same) > len(want) // 2
    rows = [np.searchsorted(one.queries, same) for one in (want, have)]
    assert np.abs(want.scores[rows[0]] - have.scores[rows[1]]).max() < 0.2
    assert not np.array_equal(want.scores[rows[0]], have.scores[rows[1]])


def test_no_picture(detector: Owlv2Detector) -> None:
    assert detector.detect([], parse("cat")) == []
    assert detector.side == 32
    assert torch.is_grad_enabled() is False
