"""Makes the nano detector's vocabulary: whole words of the scenes, sub-words for all the others.

python tools/make_vocabulary.py [--out weights/nano-detector-vocab.txt] [--size 2048]
"""

from __future__ import annotations

import argparse
import unicodedata
from pathlib import Path

from scenes.glyphs import load_concepts
from scenes.shapes import COLOURS, NOUNS, PATTERNS, SIZES
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from perception.detector.tokenizer import SPECIAL, split_words

# The blocks of Unicode whose characters are named things; their names teach the sub-words.
NAMED_BLOCKS = ((0x2300, 0x27C0), (0x1F300, 0x1FB00))


def corpus() -> list[str]:
    """Words as often as they shall count: the scenes' own ten times, Unicode's names once."""
    own = " ".join([*load_concepts(), *NOUNS, *COLOURS, *PATTERNS, *SIZES])
    names = [unicodedata.name(chr(c), "") for low, high in NAMED_BLOCKS for c in range(low, high)]
    return split_words(own) * 10 + [word for name in names for word in split_words(name)]


def make_vocabulary(size: int) -> list[str]:
    """At most ``size`` pieces: the special ones, single characters, whole words, sub-words."""
    words = corpus()
    trainer = trainers.WordPieceTrainer(vocab_size=size, show_progress=False, min_frequency=2)
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))  # type: ignore[call-arg]
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(words, trainer)
    learned = tokenizer.get_vocab()
    characters = "abcdefghijklmnopqrstuvwxyz0123456789-'&!?.,:;/()+#@_"
    pieces = dict.fromkeys([*SPECIAL, *characters, *("##" + c for c in characters[:36])])
    pieces |= dict.fromkeys(sorted({w for w in words if words.count(w) >= 10}))
    pieces |= dict.fromkeys(sorted(learned, key=lambda piece: learned[piece]))
    return list(pieces)[:size]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("weights/nano-detector-vocab.txt"))
    parser.add_argument("--size", type=int, default=2048)
    arguments = parser.parse_args()
    pieces = make_vocabulary(arguments.size)
    arguments.out.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(pieces)} pieces")


if __name__ == "__main__":
    main()
