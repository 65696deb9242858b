"""Reads the nouns of WordNet 3.0 from its own files, as Debian's package wordnet-base has them.

WordNet is Princeton University's; its licence lets anyone use and copy it with the notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FOLDER = Path("/usr/share/wordnet")
UP, DOWN = ("@", "@i"), ("~",)
"""Pointers to what a synset is a kind of, and to its kinds; "~i" leads to single persons, say."""


@dataclass(frozen=True)
class Synset:
    """words: its lemmas, spaces in place of underscores; up, down: offsets of other synsets."""

    words: tuple[str, ...]
    up: tuple[int, ...]
    down: tuple[int, ...]


@dataclass(frozen=True)
class Nouns:
    """synsets by offset; senses: of each lemma in lower case, the most frequent first; used: how
    many senses of a lemma occur in the texts that WordNet's authors tagged.
    """

    synsets: dict[int, Synset]
    senses: dict[str, tuple[int, ...]]
    used: dict[str, int]

    def named(self, key: str) -> int:
        """The offset of a synset called LEMMA.n.NUMBER."""
        lemma, _, number = key.rsplit(".", 2)
        return self.senses[lemma.replace("_", " ").lower()][int(number) - 1]

    def kinds(self, offset: int) -> Iterator[int]:
        """A synset's kinds, their kinds and so on, each once; not the synset itself."""
        seen = {offset}
        queue = list(self.synsets[offset].down)
        while queue:
            one = queue.pop(0)
            if one not in seen:
                seen.add(one)
                yield one
                queue += self.synsets[one].down

    def above(self, offset: int) -> list[int]:
        """What a synset is a kind of, the nearest first; of several only the first is followed."""
        path = []
        while self.synsets[offset].up and len(path) < 20:
            offset = self.synsets[offset].up[0]
            path.append(offset)
        return path

    @cached_property
    def lemmas(self) -> dict[int, list[str]]:
        """The lemmas, in lower case, whose most frequent sense a synset is."""
        first: dict[int, list[str]] = {}
        for lemma, offsets in self.senses.items():
            first.setdefault(offsets[0], []).append(lemma)
        return first


def read_nouns(folder: Path = FOLDER) -> Nouns:
    """The nouns in WordNet's folder; ends with one line where it isn't there."""
    try:
        data = (folder / "data.noun").read_text(encoding="utf-8")
        index = (folder / "index.noun").read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(
            f"{folder}: WordNet can't be read ({error.strerror}): apt install wordnet-base, or "
            "name the folder with data.noun"
        ) from None
    synsets = dict(_synset(line) for line in data.splitlines() if line[:1].isdigit())
    senses, used = {}, {}
    for line in index.splitlines():
        if line.startswith(" "):
            continue  # the licence
        fields = line.split()
        count, pointers = int(fields[2]), int(fields[3])
        lemma = fields[0].replace("_", " ")
        used[lemma] = int(fields[5 + pointers])
        senses[lemma] = tuple(map(int, fields[-count:]))
    return Nouns(synsets, senses, used)


def _synset(line: str) -> tuple[int, Synset]:
    fields = line.partition(" | ")[0].split()
    count = int(fields[3], 16)
    words = tuple(fields[4 + 2 * k].replace("_", " ") for k in range(count))
    start = 4 + 2 * count
    pointers = [fields[start + 1 + 4 * k : start + 5 + 4 * k] for k in range(int(fields[start]))]
    nouns = [(kind, int(offset)) for kind, offset, part, _ in pointers if part == "n"]
    up = tuple(offset for kind, offset in nouns if kind in UP)
    down = tuple(offset for kind, offset in nouns if kind in DOWN)
    return int(fields[0]), Synset(words, up, down)
