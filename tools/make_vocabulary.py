"""Makes a vocabulary for the nano detector: whole words of the scenes, sub-words for all others.

    python tools/make_vocabulary.py PATH [--size 2048]

A vocabulary is part of the model that was trained with it: weights/nano-detector-vocab.txt belongs
to the weights beside it, and a new one needs a new training.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import pairwise
from pathlib import Path

from scenes.glyphs import load_concepts
from scenes.shapes import COLORS, NOUNS, PATTERNS, SIZES
from scenes.unicode_names import character_names

from perception.detectors.nano.onnx import SPECIAL, split_words

OWN_WEIGHT = 10  # how much more the scenes' own words count than the names of Unicode
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
MARKS = "-'&!?.,:;/()+#@_"


def make_vocabulary(size: int) -> list[str]:
    """``size`` pieces: the special ones, single characters, the scenes' words, then sub-words."""
    own = split_words(" ".join([*load_concepts(), *NOUNS, *COLORS, *PATTERNS, *SIZES]))
    named = [word for name in character_names().values() for word in split_words(name)]
    words = Counter(named) + Counter(own * OWN_WEIGHT)
    pieces = dict.fromkeys([*SPECIAL, *LETTERS, *MARKS, *("##" + letter for letter in LETTERS)])
    pieces |= dict.fromkeys(sorted(word for word in words if words[word] >= OWN_WEIGHT))
    pieces |= dict.fromkeys(learn_pieces(words, size))
    return list(pieces)[:size]


def learn_pieces(words: Counter[str], count: int) -> list[str]:
    """At most ``count`` sub-words, the most frequent first; the same for the same words.

    Sennrich et al. 2016, "Neural machine translation of rare words with subword units": the two
    pieces that stand side by side most often become one, again and again.
    """
    spelled = {word: [word[0], *("##" + letter for letter in word[1:])] for word in words}
    learned: dict[str, None] = {}
    while len(learned) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in spelled.items():
            for pair in pairwise(pieces):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        learned[best[0] + best[1].removeprefix("##")] = None
        spelled = {word: _join(p, best) for word, p in spelled.items() if len(p) > 1}
    return list(learned)


def _join(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    """The pieces of a word, with each such pair as one."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece.removeprefix("##")
        else:
            joined.append(piece)
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=int, default=2048)
    arguments = parser.parse_args()
    pieces = make_vocabulary(arguments.size)
    arguments.path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    print(f"{arguments.path}: {len(pieces)} pieces")


if __name__ == "__main__":
    main()
