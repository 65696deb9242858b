from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from measure_synonyms import measure_words
from scenes.scene import Painter
from text_teacher import SYNONYMS

CAT, DOG = [0, 0, 10, 10], [20, 0, 30, 10]
ENTRIES: list[dict[str, Any]] = [
    {"file_name": "a", "things": [{"phrase": "cat", "box": CAT}, {"phrase": "dog", "box": DOG}]},
    {"file_name": "b", "things": [{"phrase": "cat", "box": CAT}, {"phrase": "cat", "box": DOG}]},
]


def detector(answers: dict[str, list[list[int]]]) -> Any:
    """In a model's place: the boxes that each word finds in every image."""

    def detect(path: Path, words: list[str]) -> Any:
        (word,) = words
        boxes = answers.get(word, [])
        return SimpleNamespace(
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            scores=np.full(len(boxes), 0.9),
            labels=[word] * len(boxes),
        )

    return detect


def test_words_count_where_what_they_mean_is_shown() -> None:
    detect = detector({"kitten": [CAT], "puppy": [CAT], "cat": [CAT, DOG], "dog": [DOG]})
    words = {"kitten": "cat", "puppy": "dog", "foal": "horse"}
    recall = measure_words(detect, Path(), ENTRIES, words)
    assert (recall.words, recall.things, recall.found, recall.named) == (2, 4, 2, 4)
    assert recall.share == 0.5
    assert recall.share_by_name == 1
    assert recall.missed == ("puppy",)


def test_no_picture_teaches_the_words(painter: Painter) -> None:
    """Scenes use the concepts' names and the Unicode names of their emoji."""
    groups = json.loads(SYNONYMS.read_text(encoding="utf-8"))
    glyphs = [glyph for some in painter.concepts.values() for glyph in some]
    taught = {*painter.names, *(unicodedata.name(glyph).lower() for glyph in glyphs)}
    for words in groups.values():
        assert not taught & set(words)
        assert set(words.values()) <= set(painter.names)
    assert not set(groups["known"]) & set(groups["unknown"])
