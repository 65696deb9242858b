from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoTokenizer, OmDetTurboProcessor

from perception.detectors.load import load_detector
from perception.detectors.omdet_turbo.detector import OmDetTurboDetector
from perception.errors import PromptError
from perception.prompts.grammar import parse
from perception.types import Candidates

from .published_tiny import QUERIES, TEXT_LIMIT, build, pictures, saved

MANY = [f"red car {letter}" for letter in "abcdefghijklm"]


@pytest.fixture(scope="module")
def detector() -> OmDetTurboDetector:
    found = load_detector("omdet-turbo", saved("omdet-turbo"), name="tiny")
    assert isinstance(found, OmDetTurboDetector)
    return found


def assert_same(one: Candidates, other: Candidates) -> None:
    np.testing.assert_array_equal(one.queries, other.queries)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


@pytest.mark.parametrize("image_hw", [(90, 120), (64, 64)])
@pytest.mark.parametrize("names", [["cat"], ["cat", "red car", "dog"]])
def test_boxes_and_scores_are_those_of_transformers(
    detector: OmDetTurboDetector, names: list[str], image_hw: tuple[int, int]
) -> None:
    folder = saved("omdet-turbo")
    processor = OmDetTurboProcessor(
        AutoImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    )
    (image,) = pictures(image_hw)
    inputs = processor(
        image, text=names, return_tensors="pt", text_kwargs={"max_length": TEXT_LIMIT}
    )
    out = build("omdet-turbo")(**inputs)
    (have,) = detector.candidates([image], parse(names), floor=0)
    scores = out.decoder_class_logits[0].sigmoid().numpy()
    np.testing.assert_allclose(have.scores, scores[have.queries], atol=1e-5)
    x, y, w, h = out.decoder_coord_logits[0].numpy().T
    height, width = image_hw
    want = np.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), 1) * ([width, height] * 2)
    want = want.clip(0, [width, height, width, height])
    np.testing.assert_allclose(have.boxes, want[have.queries], atol=1e-3)


def test_the_sentence_is_that_of_transformers(detector: OmDetTurboDetector) -> None:
    (question,) = detector._questions(("cat", "red car"))
    want = AutoTokenizer.from_pretrained(saved("omdet-turbo"))("Detect cat, red car.").input_ids
    assert list(question.ids) == want


def test_sentences_are_full_and_none_is_cut_off(detector: OmDetTurboDetector) -> None:
    questions = detector._questions(tuple(MANY))
    assert len(questions) == 2
    assert max(len(question.ids) for question in questions) <= TEXT_LIMIT
    assert np.concatenate([one.phrases for one in questions]).tolist() == list(range(13))


def test_several_sentences_give_what_each_gives_alone(detector: OmDetTurboDetector) -> None:
    assert not detector.phrases_independent
    images = pictures((90, 120))
    (found,) = detector.candidates(images, parse(MANY), floor=0)
    for number, question in enumerate(detector._questions(tuple(MANY))):
        own = [MANY[phrase] for phrase in question.phrases]
        (alone,) = detector.candidates(images, parse(own), floor=0)
        rows = found.queries // QUERIES == number
        part = found.scores[rows][:, question.phrases]
        assert_same(Candidates(found.boxes[rows], part, found.queries[rows] % QUERIES), alone)
        assert not np.delete(found.scores[rows], question.phrases, axis=1).any()


def test_several_pictures_as_one_by_one(
    detector: OmDetTurboDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, phrases = pictures((90, 120), (120, 90), (64, 64)), parse("cat. dog")
    alone = detector.candidates(images, phrases, floor=0)
    monkeypatch.setattr(
        "perception.detectors.omdet_turbo.detector.batches", lambda images, device: [images]
    )
    for one, other in zip(alone, detector.candidates(images, phrases, floor=0), strict=True):
        assert_same(one, other)


def test_text_is_encoded_once(
    detector: OmDetTurboDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    network = detector._network
    for name in ("encode_phrases", "encode_task"):
        method = getattr(network, name)
        monkeypatch.setattr(
            network, name, lambda ids, name=name, method=method: calls.append(name) or method(ids)
        )
    detector._phrases._known.clear()
    detector._tasks._known.clear()
    detector.candidates(pictures((64, 64), (64, 64)), parse("cat. dog"), floor=0)
    detector.candidates(pictures((64, 64)), parse("cat. dog"), floor=0)
    assert calls == ["encode_phrases", "encode_task"]


def test_case_and_punctuation_change_nothing(detector: OmDetTurboDetector) -> None:
    images = pictures((90, 120))
    (want,) = detector.candidates(images, parse("cat, red car"), floor=0)
    (have,) = detector.candidates(images, parse("CAT; Red  Car..."), floor=0)
    np.testing.assert_array_equal(have.scores, want.scores)


def test_a_phrase_longer_than_a_sentence(detector: OmDetTurboDetector) -> None:
    with pytest.raises(PromptError, match="30 tokens long, at most 28 fit"):
        detector.candidates(pictures((64, 64)), parse(["a " * 30]), floor=0)


def test_no_picture(detector: OmDetTurboDetector) -> None:
    assert detector.detect([], parse("cat")) == []
    assert detector.side == 64
    assert not torch.is_grad_enabled()
