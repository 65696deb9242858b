"""Makes the table of names: what each word means on photographs, as the detector's half takes it.

    python tools/make_names.py --photo runs/photo --data DIR [--wordnet DIR] [--out FILE]

COCO's 80 names get their own logit and nothing else. Other words get, in this order: COCO's or a
taught name's row, where LVIS or WordNet says that they are the same; the row of the class that they
are a kind of ("taxi"); the rows of all the classes that are kinds of them ("animal"); and names of
LVIS and Objects365 a mixture of the known classes by CLIP's likeness. ``--photo`` holds what
``train_nanodet.py`` has learned.
"""

from __future__ import annotations

import argparse
import colorsys
import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from text_teacher import clip_rows, coco_names, plain
from wordnet import FOLDER, Nouns, read_nouns

from perception.defaults import THRESHOLD
from perception.detectors.nano.names import COLORS, NameTable, features
from perception.detectors.nano.photo_network import CLASSES, SURE, WORD_SIZE

CHOSEN = 0.36
"""The probability of NanoDet's own at which 65 of 100 labeled boxes are right, on held-out training
photographs; the default threshold is put there."""

RIDGE = 0.1  # weight of the ridge by which CLIP's likeness is made a mixture of known classes
VETO = 1.0  # how much the best known class counts against a name that is none of them
SLOPE = 0.5
"""By how much a mixture's logit is flattened: its ranking stays, and its weaker answers aren't lost
below the floor that answers are kept from.
"""

FALSE, MARGIN = 4e-4, 0.25
"""The share of regions that reach the threshold by a mixture, and how much lower, in logits, it is
put: so seven in a thousand are found in a training photograph, which mostly has none of them; at a
margin of 0.1 twenty.
"""

SYNSETS = {
    "cow": ("cow.n.01", "cattle.n.01"), "stop sign": (), "potted plant": ("pot_plant.n.01",),
    "keyboard": ("computer_keyboard.n.01",), "sports ball": ("ball.n.01",),
    "book": (), "person": ("person.n.01",), "suitcase": ("bag.n.06",), "cake": (),
    "sandwich": ("sandwich.n.01",), "clock": ("clock.n.01", "watch.n.01"),
    "dining table": ("table.n.02",), "cup": ("cup.n.01", "mug.n.04"), "kite": ("kite.n.03",),
    "train": ("train.n.01", "locomotive.n.01"), "boat": ("boat.n.01", "ship.n.01"),
    "tv": ("television_receiver.n.01", "monitor.n.04"), "couch": ("sofa.n.01",),
}  # fmt: skip
"""Synsets of classes for which COCO's list names another, or too narrow a one; () for none."""

ALSO = {
    "person": "people human man woman boy girl child kid pedestrian lady guy baby toddler adult "
    "player skier surfer cyclist rider skateboarder snowboarder worker tourist crowd",
    "car": "automobile suv sedan van minivan", "motorcycle": "motorbike scooter moped",
    "airplane": "aeroplane plane jet airliner aircraft", "truck": "lorry pickup fire truck",
    "couch": "sofa settee loveseat", "tv": "television tv set monitor screen computer monitor",
    "cell phone": "cellphone mobile phone smartphone phone telephone mobile",
    "laptop": "laptop computer notebook computer", "mouse": "computer mouse",
    "refrigerator": "fridge freezer", "microwave": "microwave oven", "hair drier": "hair dryer",
    "remote": "remote control", "donut": "doughnut", "potted plant": "houseplant plant pot plant",
    "dining table": "table desk", "sports ball": "ball soccer ball football basketball baseball "
    "tennis ball volleyball", "handbag": "purse bag", "suitcase": "luggage baggage", "tie":
    "necktie", "backpack": "rucksack knapsack schoolbag", "wine glass": "wineglass goblet",
    "cup": "mug coffee cup teacup", "bicycle": "bike", "cat": "kitty kitten", "dog": "puppy doggy",
    "cow": "cattle calf bull ox", "sheep": "lamb ram", "horse": "pony foal", "bird": "seagull duck "
    "pigeon parrot goose swan chicken hen", "keyboard": "computer keyboard", "sink": "washbasin",
    "toilet": "loo", "book": "novel paperback", "boat": "ship sailboat canoe kayak yacht rowboat",
    "traffic light": "traffic signal stoplight", "fire hydrant": "hydrant", "skis": "ski",
    "hot dog": "hotdog", "teddy bear": "teddy stuffed bear", "scissors": "scissor",
    "tennis racket": "racket tennis racquet", "cake": "cupcake birthday cake", "bus": "coach "
    "minibus double decker", "train": "locomotive subway train", "clock": "wall clock alarm clock",
    "umbrella": "parasol", "frisbee": "flying disc", "oven": "stove", "bed": "bunk bed",
    "chair": "armchair stool", "bench": "park bench", "vase": "urn", "bottle": "flask",
}  # fmt: skip
"""Words that people type for classes; several words that go together are found in WordNet."""


GROUPS = {
    "fruit": "apple banana orange", "vegetable": "broccoli carrot",
    "food": "apple banana orange sandwich broccoli carrot pizza donut cake",
    "furniture": "chair couch bed bench", "pet": "cat dog", "cutlery": "fork knife spoon",
    "silverware": "fork knife spoon", "livestock": "cow sheep horse", "seat": "chair couch bench",
    "vehicle": "car bus truck motorcycle bicycle train airplane boat",
    "animal": "bird cat dog horse sheep cow elephant bear zebra giraffe",
    "electronics": "tv laptop keyboard mouse remote", "dishes": "bowl cup",
    "tableware": "bowl cup fork knife spoon", "appliance": "microwave oven toaster refrigerator",
}  # fmt: skip
"""Words for several classes that WordNet has otherwise, or under another sense first."""


@dataclass
class Builder:
    """Names with their rows' places; a name that is there already stays."""

    rows: list[np.ndarray] = field(default_factory=list)
    names: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def row(self, vector: np.ndarray) -> int:
        self.rows.append(vector)
        return len(self.rows) - 1

    def add(self, name: str, places: Iterable[int]) -> None:
        name = name.casefold().strip()
        if len(name) > 1 and "\t" not in name:
            self.names.setdefault(name, tuple(dict.fromkeys(places)))


SHIFT = math.log(THRESHOLD / (1 - THRESHOLD)) - math.log(CHOSEN / (1 - CHOSEN))


def own_row(index: int) -> np.ndarray:
    """The vector of a known class: its own logit, moved to where the default threshold is."""
    row = np.zeros(CLASSES + WORD_SIZE + 2, np.float32)
    row[index], row[-1] = 1, SHIFT
    return row


def mixture(likeness: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Weights of known classes, K, for a name whose likeness to each is K; among: K x K."""
    eye = np.eye(len(among), dtype=np.float32)
    return np.linalg.solve(among + RIDGE * eye, likeness).astype(np.float32)


def fit_colors(seed: int = 0) -> np.ndarray:
    """The weights of ``box_colors``: a softmax fitted to hues, saturations and values by name."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pixels, labels = [], []
    for k, name in enumerate(COLORS):
        for spans in WIDE[name]:
            hsv = [rng.uniform(*span, 1500) for span in spans]
            rgb = [colorsys.hsv_to_rgb(h % 360 / 360, s, v) for h, s, v in zip(*hsv, strict=True)]
            pixels.append(np.array(rgb, np.float32) * 255)
            labels.append(np.full(1500, k))
    x = torch.from_numpy(features(np.concatenate(pixels)))
    y = torch.from_numpy(np.concatenate(labels))
    weights = torch.zeros(x.shape[1], len(COLORS), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weights, y) + 1e-5 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach().numpy().astype(np.float32)


WIDE: dict[str, list[tuple[tuple[float, float], ...]]] = {
    "red": [((-14, 10), (0.55, 1), (0.3, 1))],
    "orange": [((16, 36), (0.6, 1), (0.65, 1))],
    "yellow": [((44, 66), (0.4, 1), (0.6, 1))],
    "green": [((75, 170), (0.25, 1), (0.15, 0.95))],
    "blue": [((190, 250), (0.3, 1), (0.2, 1))],
    "purple": [((262, 305), (0.25, 1), (0.2, 0.9))],
    "pink": [((310, 355), (0.2, 0.7), (0.7, 1)), ((-8, 8), (0.2, 0.45), (0.85, 1))],
    "brown": [((12, 38), (0.3, 0.9), (0.15, 0.55)), ((20, 35), (0.3, 0.55), (0.5, 0.7))],
    "black": [((0, 360), (0, 0.5), (0.0, 0.18)), ((0, 360), (0, 0.2), (0.1, 0.25))],
    "gray": [((0, 360), (0, 0.12), (0.32, 0.72))],
    "white": [((0, 360), (0, 0.12), (0.82, 1))],
}
"""What people call colors, as hue in degrees, saturation and value: wider than the scenes'."""


def build(photo: Path, data: Path, nouns: Nouns) -> NameTable:
    """The table; see above."""
    coco = coco_names(data / "names")
    builder = Builder()
    known = {name: builder.row(own_row(k)) for k, name in enumerate(coco)}
    for name, place in known.items():
        builder.add(name, [place])
    for name, words in ALSO.items():
        for word in _several(words, nouns):
            builder.add(word, [known[name]])
    for word, names in GROUPS.items():
        builder.add(word, [known[name] for name in names.split()])
    taught = _taught_rows(builder, photo, set(coco))
    of_synset = _synsets_of(coco, data, nouns)
    kinds = _kinds(of_synset, nouns)
    for offset, name in kinds.items():
        for word in nouns.lemmas.get(offset, ()):
            builder.add(word, [known[name]])
    _add_above(builder, of_synset, known, nouns)
    regions = load_file(photo / "names.safetensors")["regions"].float().numpy()
    _add_mixtures(builder, known, coco, data, nouns, kinds, regions)
    for name, place in taught.items():
        builder.add(name, [place])
    return NameTable(builder.names, np.stack(builder.rows), fit_colors())


def _several(words: str, nouns: Nouns) -> list[str]:
    """The names in a list of words: the longest runs of words that are nouns of WordNet."""
    found, rest = [], words.split()
    while rest:
        count = next(
            (n for n in (3, 2) if " ".join(rest[:n]) in nouns.senses and len(rest) >= n), 1
        )
        found.append(" ".join(rest[:count]))
        rest = rest[count:]
    return found


def _taught_rows(builder: Builder, photo: Path, coco: set[str]) -> dict[str, int]:
    """A row for each name beyond COCO's that photographs taught, from ``train_nanodet.py``."""
    lines = (photo / "names.txt").read_text(encoding="utf-8").splitlines()
    vectors = load_file(photo / "names.safetensors")["vectors"].numpy()
    rows = {}
    for line, vector in zip(lines, vectors, strict=True):
        name, taught = line.split("\t")
        if int(taught) and name not in coco:
            row = np.zeros(CLASSES + WORD_SIZE + 2, np.float32)
            row[CLASSES : CLASSES + WORD_SIZE], row[-1] = vector[:-1], vector[-1] + SHIFT
            rows[name] = builder.row(row)
            builder.add(name, [rows[name]])
    return rows


def _synsets_of(coco: list[str], data: Path, nouns: Nouns) -> dict[str, list[int]]:
    """The synsets of each class."""
    rows = json.loads((data / "names" / "coco_to_synset.json").read_text(encoding="utf-8"))
    found = {}
    for name in coco:
        keys = SYNSETS.get(name, (rows[name]["synset"],))
        found[name] = [nouns.named(key) for key in keys if _exists(nouns, key)]
    return found


def _exists(nouns: Nouns, key: str) -> bool:
    lemma, _, number = key.rsplit(".", 2)
    return len(nouns.senses.get(lemma.replace("_", " "), ())) >= int(number)


def _kinds(of_synset: dict[str, list[int]], nouns: Nouns) -> dict[int, str]:
    """The class that each synset is, or is a kind of: the nearest."""
    own = {offset: name for name, offsets in of_synset.items() for offset in offsets}
    kinds = dict(own)
    for offset, name in own.items():
        for below in nouns.kinds(offset):
            if below in own:
                continue
            nearest = next((own[up] for up in nouns.above(below) if up in own), name)
            kinds.setdefault(below, nearest)
    return kinds


GENERAL = 5
"""Synsets this near to WordNet's root stand for no kind of thing: "object", "artifact"."""


def _add_above(
    builder: Builder, of_synset: dict[str, list[int]], known: dict[str, int], nouns: Nouns
) -> None:
    """Words for several classes at once: a synset's are all the classes below it."""
    members: dict[int, dict[int, None]] = {}
    for name, offsets in of_synset.items():
        for offset in offsets:
            path = nouns.above(offset)
            for up in path[: max(len(path) - GENERAL, 0)]:
                members.setdefault(up, {})[known[name]] = None
    for offset, places in members.items():
        for word in nouns.lemmas.get(offset, ()):
            builder.add(word, places)


def _add_mixtures(
    builder: Builder,
    known: dict[str, int],
    coco: list[str],
    data: Path,
    nouns: Nouns,
    kinds: dict[int, str],
    regions: np.ndarray,
) -> None:
    """Names of LVIS and Objects365: a class that LVIS' synset is a kind of, or a mixture."""
    clip = clip_rows(data / "names")
    vectors = np.stack(list(clip.values()))
    vectors -= vectors.mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    of_name = dict(zip(clip, vectors, strict=True))
    classes = np.stack([of_name[name] for name in coco])
    among = classes @ classes.T
    for name, synonyms, synset in _listed(data / "names"):
        words = [name, *synonyms]
        have = next((builder.names[word] for word in words if word in builder.names), None)
        if have is None and synset and _exists(nouns, synset) and nouns.named(synset) in kinds:
            have = (known[kinds[nouns.named(synset)]],)
        if have is None and name in of_name:
            have = (builder.row(_mixed(classes @ of_name[name], among, regions)),)
        for word in words if have else ():
            builder.add(word, have or ())


def _mixed(likeness: np.ndarray, among: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """regions: the known classes' logits of regions that mostly aren't what the name means."""
    weights = mixture(likeness, among)
    sure = np.maximum(regions.max(1) + SURE, 0)
    scores = SLOPE * (regions @ weights - VETO * sure)
    highest = np.quantile(scores, 1 - FALSE)
    row = np.zeros(CLASSES + WORD_SIZE + 2, np.float32)
    row[:CLASSES], row[-2] = SLOPE * weights, -SLOPE * VETO
    row[-1] = logit(THRESHOLD) - MARGIN - highest
    return row


def logit(chance: float) -> float:
    """The log-odds of a probability."""
    return math.log(chance / (1 - chance))


def _listed(folder: Path) -> Iterable[tuple[str, list[str], str]]:
    """Names of LVIS and Objects365, other words for each, and its synset or ""."""
    rows = json.loads((folder / "lvis_v1_cat_info_synonyms_defs.json").read_text(encoding="utf-8"))
    for row in rows:
        yield plain(row["name"]), [plain(word) for word in row["synonyms"]], row["synset"]
    with (folder / "objects365_names.csv").open(encoding="utf-8") as file:
        for row in csv.reader(file):
            words = [plain(word) for word in row[1].split("/")]
            yield words[0], words[1:], ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photo", type=Path, required=True, help="folder of train_nanodet.py")
    parser.add_argument("--data", type=Path, required=True, help="folder with names/")
    parser.add_argument("--wordnet", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=Path("weights/nano-detector-names.zip"))
    arguments = parser.parse_args()
    table = build(arguments.photo, arguments.data, read_nouns(arguments.wordnet))
    table.save(arguments.out)
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {len(table.names)} names, {len(table.rows)} rows, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
