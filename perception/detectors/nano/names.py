"""Names of the photograph half: synonyms, kinds, and colors of boxes.

A name stands for one or several rows, vectors as ``nanodet.PhotoNetwork`` takes them: "animal"
scores what the best of its rows scores. A phrase that isn't a name is read as people write: without
articles, in the singular, by its head ("a dog on a sofa" is a dog), with a color before it. What
can't be read so has no row and finds nothing on photographs.

Each pixel is given a probability of each color by a softmax over a quadratic form of its CIE
L*a*b* values, which ``tools/make_names.py`` fits to the colors of drawn shapes under many lights.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from perception.errors import WeightsError
from perception.imaging.read import printable
from perception.ops.boxes import BoxMeans
from perception.types import FloatArray, ImageArray, IntArray

COLORS = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray", "white",
)  # fmt: skip
"""Colors that a phrase may begin with."""

ARTICLES = frozenset((
    "a", "an", "the", "some", "any", "all", "every", "each", "my", "your", "our", "his",
    "her", "their", "its", "this", "that", "these", "those", "one", "two", "three", "four",
    "five", "several", "many", "both",
))  # fmt: skip

PREPOSITIONS = frozenset((
    "on", "in", "at", "with", "near", "by", "behind", "under", "beside", "above", "below",
    "over", "against", "from", "inside", "next", "wearing", "holding", "carrying", "riding",
    "sitting", "standing", "lying", "walking", "running", "playing", "eating", "that", "who",
    "which", "for", "to",
))  # fmt: skip
"""Words after which a phrase no longer names the thing itself."""

AMOUNTS = frozenset((
    "slice", "piece", "pair", "group", "herd", "bunch", "flock", "crowd", "bit", "stack",
    "pile", "row", "number", "couple", "kind",
))  # fmt: skip
"""Before "of" they aren't the thing: "slice of pizza" is a pizza."""

MODIFIERS = frozenset((
    "small", "little", "tiny", "big", "large", "huge", "tall", "short", "long", "old", "new",
    "young", "wooden", "metal", "plastic", "leather", "striped", "dotted", "checkered",
    "dark", "light", "bright", "pretty", "beautiful", "empty", "full", "open", "closed",
    "parked", "moving", "flying", "fresh", "ripe", "sliced", "cooked", "dirty", "clean",
    "wet", "dry", "fluffy", "cute", "baby", "adult", "male", "female",
))  # fmt: skip
"""Words before a name that don't change which thing it is."""

IRREGULAR = {
    "people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse",
    "knives": "knife", "geese": "goose", "feet": "foot", "teeth": "tooth", "oxen": "ox",
    "loaves": "loaf", "leaves": "leaf", "shelves": "shelf", "calves": "calf", "wolves": "wolf",
    "scarves": "scarf", "policemen": "policeman", "firemen": "fireman", "grey": "gray",
}  # fmt: skip

UNKNOWN_WORD = 1.0
"""What a word that is left out before a name costs, in logits: "sea" of "sea horse"."""

_NAMES, _ROWS, _COLORS = "names.txt", "rows.npy", "colors.npy"


@dataclass(frozen=True)
class Meaning:
    """rows: the rows of a phrase, none where it means nothing; color: one of ``COLORS`` or "";
    penalty: to be taken from its logit.
    """

    rows: tuple[int, ...] = ()
    color: str = ""
    penalty: float = 0.0


@dataclass(frozen=True)
class NameTable:
    """names: each with the places of its rows; rows: R x D float32; colors: of ``box_colors``."""

    names: Mapping[str, tuple[int, ...]]
    rows: FloatArray
    colors: FloatArray

    @classmethod
    def load(cls, path: Path) -> NameTable:
        """Read a table; raises WeightsError where it is missing, damaged or another file."""
        try:
            with zipfile.ZipFile(path) as file:
                lines = file.read(_NAMES).decode("utf-8").splitlines()
                stored, colors = (
                    np.load(io.BytesIO(file.read(name)), allow_pickle=False)
                    for name in (_ROWS, _COLORS)
                )
            names = {}
            for line in lines:
                name, _, places = line.partition("\t")
                names[name] = tuple(map(int, places.split(",")))
        except OSError as error:
            reason = error.strerror or error
            raise WeightsError(f"{path}: the table of names can't be read: {reason}") from None
        except (zipfile.BadZipFile, KeyError, ValueError):
            raise WeightsError(
                f"{printable(str(path))}: expected a table of names, as came with the model"
            ) from None
        last = max((place for places in names.values() for place in places), default=-1)
        if stored.ndim != 2 or last >= len(stored) or colors.shape != (10, len(COLORS)):
            raise WeightsError(f"{printable(str(path))}: a damaged table of names: fetch it again")
        return cls(names, stored.astype(np.float32), colors.astype(np.float32))

    def save(self, path: Path) -> None:
        """Write what ``load`` reads, rows in half precision; the same table is the same bytes."""
        lines = [f"{name}\t{','.join(map(str, self.names[name]))}" for name in sorted(self.names)]
        parts = {_NAMES: "\n".join(lines).encode()}
        for name, values in ((_ROWS, self.rows.astype(np.float16)), (_COLORS, self.colors)):
            file = io.BytesIO()
            np.save(file, np.asarray(values))
            parts[name] = file.getvalue()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in parts.items():
                entry = zipfile.ZipInfo(name)  # Without the time of day.
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, data)

    def read(self, phrase: str) -> Meaning:
        """What a normalized phrase means; see above."""
        words = phrase.replace("-", " ").split()
        for spelled in (phrase, " ".join(words)):
            if spelled in self.names:
                return Meaning(self.names[spelled])
        words = _head(words)
        while len(words) > 1 and words[0] in ARTICLES:
            words = words[1:]
        color = ""
        penalty = 0.0
        while words:
            places = self._find(words)
            if places is not None:
                return Meaning(places, color, penalty)
            first, words = IRREGULAR.get(words[0], words[0]), words[1:]
            if first in COLORS and not color:
                color = first
            elif first not in ARTICLES and first not in MODIFIERS:
                penalty += UNKNOWN_WORD
        return Meaning()

    def _find(self, words: Sequence[str]) -> tuple[int, ...] | None:
        """The rows of a name, the last word in the singular if need be."""
        for last in singulars(words[-1]):
            places = self.names.get(" ".join((*words[:-1], last)))
            if places is not None:
                return places
        return None


def _head(words: Sequence[str]) -> list[str]:
    """The words that name the thing: those before a preposition, or after an amount's "of"."""
    kept: list[str] = []
    for k, word in enumerate(words):
        if word == "of" and kept:
            if any(word in AMOUNTS for word in singulars(kept[-1])):
                return _head(words[k + 1 :])
            break
        if word in PREPOSITIONS and kept:
            break
        kept.append(word)
    return kept


def singulars(word: str) -> Iterator[str]:
    """The word, then what it may be the plural of, the likeliest first."""
    yield word
    if word in IRREGULAR:
        yield IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        yield word[:-3] + "y"
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        yield word[:-2]
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        yield word[:-1]


def phrase_rows(table: NameTable, meanings: Sequence[Meaning]) -> tuple[FloatArray, IntArray]:
    """The vectors of all phrases R x D, and which phrase each is of, R."""
    owners = [k for k, one in enumerate(meanings) for _ in one.rows]
    places = [place for one in meanings for place in one.rows]
    vectors = table.rows[places].reshape(len(places), table.rows.shape[1])
    vectors[:, -1] -= np.array([meanings[k].penalty for k in owners], np.float32)
    return vectors, np.array(owners, np.int64)


SIDE = 224
"""Longest side of the copy of the image whose pixels are looked at."""

MIDDLE = 0.8
"""How much of a box counts along each side, around its center: its corners show what is behind."""

ENOUGH = 0.3
"""The share of a box's middle at which the thing has the color without doubt."""


def lab(rgb: FloatArray) -> FloatArray:
    """sRGB ... x 3 in 0..255 -> CIE L*a*b* (D65) ... x 3, divided by 100."""
    value = np.asarray(rgb, np.float32) / 255
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    xyz = linear @ np.array(
        [[0.4339, 0.2126, 0.0178], [0.3762, 0.7152, 0.1095], [0.1899, 0.0722, 0.8727]], np.float32
    )
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    found = np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1) / 100
    return found.astype(np.float32)


def features(rgb: FloatArray) -> FloatArray:
    """sRGB N x 3 -> N x 10: one, L, a, b, their squares and products."""
    one = lab(rgb)
    pairs = [one[:, i] * one[:, j] for i in range(3) for j in range(i, 3)]
    return np.stack([np.ones(len(one), np.float32), *one.T, *pairs], axis=1)


class ColorMap:
    """The colors of one RGB image H x W x 3. weights: 10 x colors, of ``features``."""

    def __init__(self, image: ImageArray, weights: FloatArray) -> None:
        height, width = image.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        logits = features(small.reshape(-1, 3)) @ weights
        each = np.exp(logits - logits.max(1, keepdims=True))
        shares = (each / each.sum(1, keepdims=True)).reshape(size[1], size[0], -1)
        self._means = BoxMeans(shares)
        self._scale = np.array([size[0] / width, size[1] / height] * 2)
        self._size = size

    def factor(self, boxes: FloatArray, color: str) -> FloatArray:
        """How far boxes N x 4 xyxy of the image have a color of ``COLORS``, 0..1."""
        center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        inner = np.concatenate((center - half * MIDDLE, center + half * MIDDLE), axis=1)
        places = np.round(inner * self._scale).astype(np.int64)
        low = np.clip(places[:, :2], 0, np.array(self._size) - 1)
        high = np.clip(np.maximum(places[:, 2:], low + 1), 1, self._size)
        share = self._means(low, high)[:, COLORS.index(color)]
        factor: FloatArray = np.clip(share / ENOUGH, 0, 1).astype(np.float32)
        return factor
