"""Measures whether words find things that no training picture has called so.

    python tools/measure_synonyms.py [FOLDER] [--model nano]

FOLDER holds pictures and `truth.json` as tools/make_scenes.py draws them; default: the sample that
travels with the tests. The words are those of tests/data/synonyms.json: "known" ones stand in the
lists of names that taught the text side (tools/text_teacher.py), "unknown" ones were kept from it
as well. Each word is asked alone, in every scene that shows what it means. Recall is that of boxes
at IoU 0.5 and the default threshold, beside that of the names that training used for them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure_scenes import SAMPLE, load_truth, match
from text_teacher import SYNONYMS

from perception.defaults import THRESHOLD
from perception.instances import Instances
from perception.models.load import load

Detect = Callable[[Path, list[str]], Instances]


@dataclass(frozen=True)
class Recall:
    """How many of the things that some words mean were found; missed: never by these words."""

    words: int
    things: int
    found: int
    named: int
    missed: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.found / max(1, self.things)

    @property
    def share_by_name(self) -> float:
        return self.named / max(1, self.things)


def measure_words(
    detect: Detect, folder: Path, entries: list[dict[str, Any]], words: dict[str, str]
) -> Recall:
    """words: what each word is called in the scenes; only those that a scene shows are counted."""
    things = found = named = 0
    shown: dict[str, int] = {}
    by_name: dict[tuple[str, str], int] = {}
    for word, name in words.items():
        for entry in entries:
            meant = [thing for thing in entry["things"] if thing["phrase"] == name]
            if not meant:
                continue
            path = folder / entry["file_name"]
            right = _right(detect, path, meant, word)
            if (entry["file_name"], name) not in by_name:
                by_name[entry["file_name"], name] = _right(detect, path, meant, name)
            things, found = things + len(meant), found + right
            named += by_name[entry["file_name"], name]
            shown[word] = shown.get(word, 0) + right
    return Recall(len(shown), things, found, named, tuple(w for w, n in shown.items() if not n))


def _right(detect: Detect, path: Path, meant: list[dict[str, Any]], word: str) -> int:
    found = detect(path, [word])
    asked = {"things": [thing | {"phrase": word} for thing in meant]}
    return match(asked, found.boxes, found.scores, found.labels, THRESHOLD)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    entries = [one for some in load_truth(arguments.folder).values() for one in some]
    model = load(arguments.model)
    groups = json.loads(SYNONYMS.read_text(encoding="utf-8"))
    print(
        "| words | things | recall | by the name in training | never found |\n|---|---|---|---|---|"
    )
    for name, words in groups.items():
        recall = measure_words(model.detect, arguments.folder, entries, words)
        print(
            f"| {recall.words} {name} | {recall.things} | {recall.share:.3f} "
            f"| {recall.share_by_name:.3f} | {', '.join(recall.missed)} |"
        )


if __name__ == "__main__":
    main()
