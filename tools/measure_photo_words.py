"""Measures words for COCO's classes that COCO doesn't use: synonyms, and kinds of them.

    python tools/measure_photo_words.py FOLDER [--model nano]
    python tools/measure_photo_words.py --draw --names NAMES [--wordnet DIR]

FOLDER holds ``instances.json`` and ``images/`` of COCO photographs that no training has seen. Each
word of ``photo_words.json`` is asked of every photograph; what it should find are the boxes of its
class. The figure is the mean over the words of AP at IoU 0.5, beside that of the classes' own
names; a word whose class the folder doesn't show is left out.

--draw shows how the kinds were drawn: by a fixed seed from WordNet's, before anything was trained.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from wordnet import FOLDER, Nouns, read_nouns

from perception.detectors.decode import label_all
from perception.detectors.protocol import Detector
from perception.imaging.read import read_image
from perception.models.load import load
from perception.prompts.grammar import parse

WORDS = Path(__file__).with_name("photo_words.json")
SEED, KINDS, PER_CLASS, PER_PERSON = 21, 20, 1, 2
FLOOR = 0.01


def draw_kinds(nouns: Nouns, synset_of: dict[str, str], shown: set[str]) -> dict[str, str]:
    """Words whose most frequent sense is a kind of a class that is shown, one or two a class.

    Only words that occur in the texts that WordNet's authors tagged: others nobody types.
    """
    rng = np.random.default_rng(SEED)
    kinds: dict[str, list[str]] = {}
    for name in sorted(shown & synset_of.keys()):
        with contextlib.suppress(KeyError):
            below = nouns.kinds(nouns.named(synset_of[name]))
            words = [word for one in below for word in nouns.lemmas.get(one, ())]
            words = sorted(w for w in set(words) if nouns.used[w] and w not in shown)
            if words:
                kinds[name] = words
    drawn: dict[str, str] = {}
    for name in rng.permutation(sorted(kinds)).tolist():
        most = PER_PERSON if name == "person" else PER_CLASS
        for word in rng.permutation(kinds[name])[:most].tolist():
            drawn[word] = name
    return dict(list(drawn.items())[:KINDS])


def measure(
    detector: Detector, folder: Path, words: dict[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
    """AP50 of each word whose class the folder shows, and of its class's own name."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "instances.json"))
    ids = {row["name"]: row["id"] for row in coco.cats.values()}
    shown = {row["category_id"] for row in coco.anns.values() if not row["iscrowd"]}
    words = {word: name for word, name in words.items() if ids.get(name) in shown}
    asked = list(dict.fromkeys([*words, *words.values()]))
    phrases = parse(asked)
    found: dict[str, list[dict]] = {word: [] for word in asked}
    for index, entry in coco.imgs.items():
        image = read_image(folder / "images" / entry["file_name"])
        (candidates,) = detector.candidates([image], phrases, floor=FLOOR)
        labels, _ = label_all(candidates, phrases, threshold=FLOOR)
        for box, score, k in zip(labels.boxes, labels.scores, labels.class_ids, strict=True):
            x0, y0, x1, y1 = (float(n) for n in box)
            row = {"image_id": index, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": float(score)}
            found[phrases.classes[k]].append(row)
    meant = words | {name: name for name in words.values()}
    figures = {w: _ap50(coco, found[w], ids[meant[w]]) for w in asked}
    return {w: figures[w] for w in words}, {w: figures[words[w]] for w in words}


def _ap50(coco: COCO, rows: list[dict], category: int) -> float:
    if not rows:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        results = coco.loadRes([row | {"category_id": category} for row in rows])
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.params.catIds = [category]
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, 0, 0, -1]
    return float(precision[precision >= 0].mean()) if (precision >= 0).any() else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=None)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--draw", action="store_true", help="print the kinds and stop")
    parser.add_argument("--names", type=Path, default=None, help="folder with coco_to_synset.json")
    parser.add_argument("--wordnet", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    if arguments.draw:
        rows = json.loads((arguments.names / "coco_to_synset.json").read_text(encoding="utf-8"))
        synset_of = {name: row["synset"] for name, row in rows.items()}
        drawn = draw_kinds(read_nouns(arguments.wordnet), synset_of, set(synset_of))
        print(json.dumps(drawn, indent=2))
        return
    if arguments.folder is None:
        parser.error("name the folder with the photographs")
    detector = load(arguments.model).detector
    for group, words in json.loads(WORDS.read_text(encoding="utf-8")).items():
        own, named = measure(detector, arguments.folder, words)
        print(
            f"{len(own)} {group}: AP50 {np.mean(list(own.values())):.3f}, by their classes' names "
            f"{np.mean(list(named.values())):.3f}"
        )
        print("  " + ", ".join(f"{w} {own[w]:.2f} ({named[w]:.2f})" for w in own))


if __name__ == "__main__":
    main()
