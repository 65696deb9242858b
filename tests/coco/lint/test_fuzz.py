"""Whatever a file holds, it is checked and mended without an exception, and mending ends."""

import contextlib
import copy
import random

import pytest

from coco.lint.samples import codes, make_content, mended
from perception.coco.lint.faults import Findings
from perception.coco.lint.read import read_coco
from perception.coco.write import coco_bytes
from perception.errors import CocoError

STRANGE = (
    *(None, True, False, 0, 1, -1, 2, 3.0, 0.5, -2.5, 1e300, 10**30, 2**31, 100_000),
    *(float("nan"), float("inf"), "", "1", "x", "é\ud800", "b'abc'", "0" * 30, "oooooooo"),
    *([], {}, [[]], [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [[1, 2], [3, 4]], [[1, 2, 3, 4]]),
    *([[0, 0, 1e9, 0, 1e9, 1e9]], [[5, 5, 5, 5, 5, 5]], [[1, 2], "x"], [None], {"size": [1, 1]}),
    *({"size": [40, 60], "counts": [2400, 0]}, {"size": [100_000] * 2, "counts": [10**10]}),
    *({"size": [0, 0], "counts": "0"}, {"size": [40, 60], "counts": [0] * 9 + [2400]}),
)


def places(value):
    """All containers in a value, each with one of its keys or indices."""
    found = []
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            found += places(value[key])
    return found


def mutate(content, chance):
    """Changes one place: to something strange, away, twice, or to something from elsewhere."""
    container, key = chance.choice(places(content))
    kind = chance.choice(["strange", "strange", "away", "twice", "elsewhere", "text"])
    if kind == "away":
        del container[key]
    elif kind == "twice" and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    elif kind == "elsewhere":
        other, there = chance.choice(places(content))
        container[key] = copy.deepcopy(other[there])
    elif kind == "text" and isinstance(container[key], str) and container[key]:
        at = chance.randrange(len(container[key]))
        text = container[key]
        container[key] = text[:at] + chr(chance.randrange(1, 128)) + text[at + 1 :]
    else:
        container[key] = copy.deepcopy(chance.choice(STRANGE))


@pytest.mark.parametrize("seed", range(8))
def test_mutations(seed):
    chance = random.Random(seed)  # noqa: S311
    for _ in range(50):
        content = make_content()
        for _ in range(chance.choice([1, 1, 2, 5, 12])):
            mutate(content, chance)
        before = codes(content)
        made, counts = mended(content)
        after = codes(made)
        assert coco_bytes(made)
        # What was said to be mended is gone, but for what was left where it was uncertain.
        assert all(after.get(code, 0) <= n for code, n in before.items() if counts.get(code))


def test_mutations_of_the_text(tmp_path):
    chance = random.Random(0)  # noqa: S311
    path = tmp_path / "mutated.json"
    valid = coco_bytes(make_content())
    for _ in range(200):
        raw = bytearray(valid)
        for _ in range(chance.choice([1, 3])):
            at = chance.randrange(len(raw))
            raw[at : at + chance.choice([0, 1, 1, 40])] = chance.choice([b"", b"\xff", b"[", b"9"])
        path.write_bytes(raw)
        with contextlib.suppress(CocoError):
            content = read_coco(path, Findings())
            codes(content)
            mended(content)
