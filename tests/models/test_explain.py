"""Why nothing was found, and what to try."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import ColorDetector, ColorSegmenter, drawing

import perception as pc
from perception.detectors.nano.onnx import SPECIAL, Tokenizer
from perception.instances import Instances
from perception.models.explain import explain, explanation_lines
from perception.pipeline import find_boxes, find_masks
from perception.predictor.whole import WholeImagePredictor
from perception.prompts.grammar import parse


class EnglishDetector(ColorDetector):
    """Looks at colors, and says which words it was never taught."""

    name = "english"

    def unknown_words(self, phrase):
        return tuple(word for word in phrase.split() if word not in ("red", "green", "blue", "dog"))


def explained(text, *, threshold=0.3, detector=None, image=None, results=None):
    detector = detector or EnglishDetector()
    pixels = drawing() if image is None else image
    found = results or [find_boxes(detector, pixels, text, threshold=threshold)]
    return explain(found, parse(text), threshold=threshold, detector=detector)


def lines(text, *, page=False, **options):
    explanation = explained(text, **options)
    return [] if explanation is None else explanation_lines(explanation, page=page)


def test_what_was_found_needs_no_explanation():
    assert explained("red. blue") is None
    assert explain([], parse("red"), threshold=0.3) is None


def test_the_best_score_below_the_threshold():
    explanation = explained("red. green", threshold=0.95)
    assert explanation.nothing
    assert [one.name for one in explanation.classes] == ["red", "green"]
    assert explanation.classes[0].best_score == pytest.approx(0.9)
    assert explanation.classes[1].best_score is None
    assert explanation.try_threshold == pytest.approx(0.89, abs=0.011)
    assert lines("red. green", threshold=0.95)[0] == (
        "nothing found: best scores below the threshold of 0.95: red 0.89; no box scores 0.05 for "
        "green"
    )


@pytest.mark.parametrize("threshold", [0.95, 0.91])
def test_the_threshold_to_try_finds_the_class(threshold):
    try_threshold = explained("red", threshold=threshold).try_threshold
    assert find_boxes(ColorDetector(), drawing(), "red", threshold=try_threshold).labels == ("red",)


def test_a_class_that_another_beats_is_not_near():
    """What wins none of the boxes isn't found at any threshold."""
    image = drawing(things=[("red", (8, 8, 40, 40))])
    negative = find_boxes(ColorDetector(), image, "sky, !red", threshold=0.3)
    assert negative.best_scores == {}


def test_scores_come_from_one_run_of_the_detector():
    calls = []

    class Counting(ColorDetector):
        def candidates(self, images, phrases, *, floor):
            calls.append(floor)
            return super().candidates(images, phrases, floor=floor)

    found = find_masks(
        Counting(), WholeImagePredictor(ColorSegmenter()), drawing(), "red. green", threshold=0.95
    )
    assert found.best_scores == {"red": pytest.approx(0.9)}
    assert calls == [0.05]


def test_of_many_images_the_best_counts():
    def one(**best):
        empty = Instances.empty((9, 9), ("red", "dog"))
        return Instances(**{**vars(empty), "best_scores": best})

    explanation = explained("red. dog", results=[one(red=0.1), one(red=0.21, dog=0.12), one()])
    assert [(c.name, c.best_score) for c in explanation.classes] == [("red", 0.21), ("dog", 0.12)]
    assert explanation.try_threshold == 0.21
    found = find_boxes(ColorDetector(), drawing(), "red. dog")
    partly = explained("red. dog", results=[found, one(dog=0.12)])
    assert [one.name for one in partly.classes] == ["dog"]
    assert not partly.nothing
    assert partly.try_model == ""
    assert explanation_lines(partly)[0].startswith("not found: best scores below")


def test_noise_is_no_advice():
    empty = Instances(**{**vars(Instances.empty((9, 9), ("dog",))), "best_scores": {"dog": 0.06}})
    assert explained("dog", results=[empty]).try_threshold is None
    assert "dog 0.06" in lines("dog", results=[empty])[0]


def test_a_box_whose_mask_is_empty():
    lost = Instances(**{**vars(Instances.empty((9, 9), ("dog",))), "best_scores": {"dog": 0.7}})
    assert "no mask that isn't empty or another's: dog" in lines("dog", results=[lost])[0]
    assert explained("dog", results=[lost]).try_threshold is None


@pytest.mark.parametrize(
    ("text", "reading", "names"),
    [
        ("where is the dog?", "question", "dog"),
        ("find all red cars in the image", "order", "red cars"),
        ("show me the cats and the dogs", "order", "cats. dogs"),
        ("is there a cat?", "question", "cat"),
        ("How many people are there?", "question", "people"),
        ("can you see a cat in this image?", "question", "cat"),
        ("please find the heart", "order", "heart"),
        ("what is this?", "question", ""),
        ("segment everything", "order", ""),
        ("dog", "name", ""),
        ("red car", "name", ""),
        ("show jumping horse", "name", ""),
        ("count dracula", "name", ""),
        ("mask", "name", ""),
        ("can of cola", "name", ""),
        ("do not enter sign", "name", ""),
        ("jack-in-the-box", "name", ""),
        ("cat on the sofa", "name", ""),
    ],
)
def test_sentences_are_told_apart_from_names(text, reading, names):
    (missed,) = explained(text, image=drawing(things=[])).classes
    assert (missed.reading, missed.names) == (reading, names)


def test_what_to_write_instead():
    assert lines("where is the dog?")[1] == (
        '"where is the dog?" reads as a question; give names of things: --text "dog"'
    )
    assert lines("where is the dog?", page=True)[1].endswith('give names of things: "dog"')
    # Words of a sentence aren't missing from the vocabulary; those of its names are.
    assert explained("where is the qipao?").classes[0].unknown_words == ("qipao",)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("собака", "Cyrillic"),
        ("猫", "Chinese characters"),
        ("いぬ", "Japanese"),
        ("개", "Korean"),
        ("κύων", "Greek"),
        ("café", ""),
        ("ｄｏｇ", ""),
        ("🍕", ""),
        ("42", ""),
    ],
)
def test_other_scripts(text, script):
    (missed,) = explained(text, image=drawing(things=[])).classes
    assert missed.script == script
    said = "\n".join(lines(text, image=drawing(things=[])))
    assert ("english reads English only" in said) == bool(script)
    # A larger model that reads English as well is no help there.
    assert ("--model base" in said) == (not script)


def test_words_outside_of_the_vocabulary():
    explanation = explained("qipao. dog. red zebroid", image=drawing(things=[]))
    assert [one.unknown_words for one in explanation.classes] == [("qipao",), (), ("zebroid",)]
    said = lines("qipao. dog. red zebroid", image=drawing(things=[]))
    assert said[1] == "not in the vocabulary of english, which is English: qipao, zebroid"
    assert said[2] == "try --model base, made for photographs (perception weights pull base)"
    at_page = lines("qipao", image=drawing(things=[]), page=True)
    assert at_page[2].startswith("try perception serve with --model base")


def test_of_published_models_no_such_claim_is_made():
    explanation = explained("qipao. собака", detector=ColorDetector())
    assert explanation.try_model == explanation.vocabulary == ""
    assert all(one.unknown_words == () for one in explanation.classes)
    assert len(explanation_lines(explanation)) == 1


def test_lines_are_few_and_short_whatever_is_asked():
    said = lines(". ".join(f"qipao number {n}" for n in range(500)))
    assert len(said) <= 3
    assert max(map(len, said)) < 200
    assert "and 497 more" in said[0]


def test_as_json():
    text = json.dumps(explained("where is the dog?").to_json())
    content = json.loads(text)
    assert content["classes"][0]["names"] == "dog"
    assert content["threshold"] == 0.3


def test_the_vocabulary_holds_words_and_their_plurals():
    pieces = [*SPECIAL, "a", "b", "s", "car", "bus", "heart", "pizza", "of", "##s", "##es", "7"]
    unknown = Tokenizer(pieces).unknown_words
    assert unknown("car. buses, HEARTS of 7 pizza") == ()
    assert unknown("🍕") == ("slice",)  # read by its name, "slice of pizza"
    assert unknown("zebroid car zebroid") == ("zebroid",)
    assert unknown("as") == ("as",)  # not the plural of a letter


def test_the_embedded_model():
    model = pc.load("nano", threads=1)
    found = model.detect("demos/images/park.jpg", "zebroid. cars. wrench")
    assert len(found) == 0
    explanation = explain(
        [found], parse("zebroid. cars. wrench"), threshold=0.3, detector=model.detector
    )
    words = {one.name: one.unknown_words for one in explanation.classes}
    assert words == {"zebroid": ("zebroid",), "cars": (), "wrench": ()}
    assert explanation.try_model == "base"
    low = model.detect("demos/images/park.jpg", "zebroid. cars. wrench", threshold=0.05)
    best = {
        name: max(low.scores[np.array(low.labels) == name].tolist())
        for name in dict.fromkeys(low.labels)
    }
    assert dict(found.best_scores) == best
