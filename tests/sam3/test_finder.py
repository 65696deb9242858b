"""SAM 3's text side against transformers' own network and post-processing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Sam3ImageProcessor, Sam3Processor

from perception.detectors.decode import label
from perception.detectors.protocol import Detector, ExampleDetector
from perception.errors import PromptError
from perception.imaging.preprocess import fit_picture
from perception.prompts.grammar import parse
from perception.sam3.finder import RGB_MEAN, RGB_STD
from perception.sam3.model import Sam3, load_sam3
from perception.types import Examples, ImageArray

from .sam3_tiny import QUERIES, SIDE, build_tokenizer

SIZES = [(64, 64), (48, 80), (97, 33), (30, 41), (211, 300), (5, 64)]
SUCH, OTHER = [3, 2, 20, 4.5], [1, 1, 9, 3]
SHOWN: dict[str, Any] = {
    "text": None,
    "text and an example": ([SUCH], [1]),
    "text and examples of both kinds": ([SUCH, OTHER], [1, 0]),
    "text and an example of what isn't": ([OTHER], [0]),
}


@pytest.fixture(scope="module")
def processor() -> Sam3Processor:
    images = Sam3ImageProcessor(size={"height": SIDE, "width": SIDE})
    return Sam3Processor(images, build_tokenizer())


def asked(processor: Any, image: ImageArray, phrase: str, shown: Any) -> Any:
    """A question as transformers' network takes it, from its own processor."""
    boxes, labels = shown or (None, None)
    return processor(
        images=image,
        text=phrase,
        input_boxes=None if boxes is None else [boxes],
        input_boxes_labels=None if labels is None else [labels],
        return_tensors="pt",
    )


def noise(size: tuple[int, int]) -> ImageArray:
    return np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_boxes_scores_and_masks_are_those_of_transformers(
    sam3: Sam3, network: Any, processor: Any, size, shown
) -> None:
    image = noise(size)
    inputs = asked(processor, image, "red star", shown)
    inputs["pixel_values"] = torch.from_numpy(
        fit_picture(image, SIDE, stretched=True, mean=RGB_MEAN, std=RGB_STD)[1]
    )
    sizes = inputs.pop("original_sizes").tolist()
    output = network.detector_model(**inputs)
    (want,) = processor.post_process_object_detection(output, threshold=-1.0, target_sizes=sizes)
    detector = sam3 if shown is None else sam3.shown(Examples(*map(np.array, shown)))
    (have,) = detector.candidates([image], parse("red star"), floor=0.0)
    assert len(have) == len(have.masks) == QUERIES
    np.testing.assert_allclose(have.scores[:, 0], want["scores"].numpy(), rtol=0, atol=1e-6)
    limit = 1e-6 * max(size)
    np.testing.assert_allclose(have.boxes, want["boxes"].numpy(), rtol=0, atol=limit)
    logits = output.pred_masks[0].numpy()
    largest = np.abs(logits).max()
    np.testing.assert_allclose(have.masks.logits, logits, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_pixels_are_those_of_the_published_preprocessing(processor: Any, size) -> None:
    want = processor(images=noise(size), return_tensors="pt").pixel_values.numpy()
    pixels = fit_picture(noise(size), SIDE, stretched=True, mean=RGB_MEAN, std=RGB_STD)[1]
    assert np.abs(pixels - want).max() <= 1.01 * 2 / 255  # one of 256 levels


def test_a_phrase_s_places_are_the_same_whatever_else_is_asked(
    sam3: Sam3, image: ImageArray
) -> None:
    assert sam3.phrases_independent
    (alone,) = sam3.candidates([image], parse("cat"), floor=0.0)
    (among,) = sam3.candidates([image], parse("red star, cat, !car"), floor=0.0)
    assert len(among) == 3 * QUERIES
    own = among[np.isin(among.queries, alone.queries)]
    assert np.array_equal(own.queries, alone.queries)
    assert np.array_equal(own.boxes, alone.boxes)
    assert np.array_equal(own.scores, alone.scores * [[0, 1, 0]])
    assert np.array_equal(own.masks.logits, alone.masks.logits)
    assert len(set(among.queries.tolist())) == 3 * QUERIES


def test_pictures_together_are_as_each_alone(sam3: Sam3, image: ImageArray) -> None:
    images = [image, image[:20], image[:, :30]]
    phrases = parse("red star, cat")
    together = sam3.candidates(images, phrases, floor=0.0)
    assert sam3.candidates([], phrases, floor=0.0) == []
    for found, one in zip(together, images, strict=True):
        (alone,) = sam3.candidates([one], phrases, floor=0.0)
        np.testing.assert_allclose(found.boxes, alone.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.masks.logits, alone.masks.logits, rtol=0, atol=1e-3)
        assert found.masks.frame.image_hw == one.shape[:2]


def test_a_picture_is_encoded_once_and_a_phrase_once(
    sam3: Sam3, image: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    concepts = sam3._finder._concepts
    calls: list[str] = []
    for name in ("encode_phrase", "encode_pictures", "find"):
        step = getattr(concepts, name)
        monkeypatch.setattr(
            concepts, name, lambda *a, step=step, name=name: (calls.append(name), step(*a))[1]
        )
    sam3._finder._known.clear()
    sam3.detect([image, image], parse("star, blue star, cat"))
    assert calls == [*["encode_phrase"] * 3, "encode_pictures", *["find"] * 3]
    calls.clear()
    sam3.detect([image], parse("cat, Star."))
    assert calls == ["encode_pictures", "find", "find"]


def test_the_floor_and_the_threshold(sam3: Sam3, image: ImageArray) -> None:
    phrases = parse("cat")
    (every,) = sam3.candidates([image], phrases, floor=0.0)
    middle = float(np.median(every.scores))
    (some,) = sam3.candidates([image], phrases, floor=middle)
    assert 0 < len(some) < len(every)
    assert (some.scores.max(axis=1) >= middle).all()
    (found,) = sam3.detect([image], phrases, threshold=middle)
    want, rows = label(every, phrases, threshold=middle)
    assert np.array_equal(found.boxes, want.boxes)
    assert np.array_equal(found.masks.logits, every.masks.logits[rows])


def test_nothing_found_is_empty(sam3: Sam3, image: ImageArray) -> None:
    (none,) = sam3.detect([image], parse("cat, car"), threshold=1.0)
    assert len(none) == 0
    assert none.masks.logits.shape[0] == 0
    assert none.clipped(image.shape[:2]).masks is not None


def test_negatives_compete_and_synonyms_collapse(sam3: Sam3, image: ImageArray) -> None:
    """The same words as a negative or in one class find the same places: one of them wins."""
    (both,) = sam3.detect([image], parse("pet: cat | car"), threshold=0.0)
    assert set(both.class_ids.tolist()) == {0}
    assert set(both.phrase_ids.tolist()) <= {0, 1}
    (alone,) = sam3.detect([image], parse("cat"), threshold=0.0)
    (left,) = sam3.detect([image], parse("cat, !car"), threshold=0.0)
    assert len(left) <= len(alone)
    assert set(left.class_ids.tolist()) <= {0}


@pytest.mark.parametrize("text", ["Cat", "cat.", " CAT ", '"cat"'])
def test_spelling_changes_nothing(sam3: Sam3, image: ImageArray, text: str) -> None:
    (want,) = sam3.detect([image], parse("cat"), threshold=0.0)
    (have,) = sam3.detect([image], parse(text), threshold=0.0)
    assert np.array_equal(have.scores, want.scores)


def test_a_phrase_that_is_too_long_is_said(sam3: Sam3, image: ImageArray) -> None:
    with pytest.raises(PromptError, match=r'"z{40}" has 40 tokens, the model reads 30'):
        sam3.detect([image], parse("z" * 40))


def test_a_phrase_with_a_dot_is_one_phrase(sam3: Sam3, image: ImageArray) -> None:
    (found,) = sam3.detect([image], parse('"dr. pepper"'), threshold=0.0)
    assert set(found.phrase_ids.tolist()) == {0}


def test_examples_show_one_class(sam3: Sam3, image: ImageArray) -> None:
    shown = sam3.shown(Examples([SUCH]))
    with pytest.raises(PromptError, match="examples show one class, the text names 2: cat, car"):
        shown.detect([image], parse("cat, car"))
    shown.detect([image], parse("pet: cat | car, !star"))


def test_a_negative_is_shown_no_examples(sam3: Sam3, image: ImageArray) -> None:
    shown = sam3.shown(Examples([SUCH]))
    (have,) = shown.candidates([image], parse("cat, !car"), floor=0.0)
    (plain,) = sam3.candidates([image], parse("cat, !car"), floor=0.0)
    same = (have.scores == plain.scores).all(axis=1)
    assert same[QUERIES:].all()
    assert not same[:QUERIES].all()


def test_an_example_outside_the_picture_is_said(sam3: Sam3, image: ImageArray) -> None:
    with pytest.raises(PromptError, match="box 100,1,120,9 is outside the image"):
        sam3.shown(Examples([[100, 1, 120, 9]])).detect([image], parse("cat"))


def test_it_is_what_the_protocols_ask_for(sam3: Sam3) -> None:
    detector: Detector = sam3.shown(Examples([SUCH]))
    assert isinstance(sam3, ExampleDetector)
    assert not isinstance(detector, ExampleDetector)
    assert detector.name == sam3.name


def test_lower_precision_is_close(saved: Path, sam3: Sam3, image: ImageArray) -> None:
    lower = load_sam3(saved, name="tiny-sam3", precision="bf16")
    (want,) = sam3.candidates([image], parse("cat"), floor=0.0)
    (have,) = lower.candidates([image], parse("cat"), floor=0.0)
    assert 0 < np.abs(have.scores - want.scores).max() < 0.05
