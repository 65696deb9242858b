"""What simulated clicks have come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from perception.evaluate.cache import answer_all, asked_of
from perception.evaluate.clicks import MOST, TARGETS, Walk, click_through, oracle_choice, own_choice
from perception.evaluate.objects import (
    SIZES,
    Thing,
    Things,
    TruePicture,
    as_instances,
    truth_instances,
)
from perception.models.model import Model
from perception.report.html import Watch, unwatched
from perception.report.measurement import Case, Cell, Line, Plot, Table, rounded, worst
from perception.types import ImageArray

_SHOWN = (1, 2, 3, 5, 10, 20)
"""After how many clicks a table has the mIoU."""
_OBEYED_UNTIL = 10
"""The last click whose obedience and harm are counted; the first of them is the second one."""

_CHOICES = {"own": "the model's choice", "oracle": "oracle"}


@dataclass(frozen=True)
class ClickedThing:
    """One thing's clicks: as the model's own choice led them, and as an oracle's."""

    picture: TruePicture
    thing: Thing
    own: Walk
    oracle: Walk

    def walk(self, choice: str) -> Walk:
        """choice: "own" or "oracle"."""
        return self.own if choice == "own" else self.oracle


def measure_clicks(
    model: Model,
    things: Things,
    *,
    most: int = MOST,
    keep: Path | None = None,
    watch: Watch = unwatched,
) -> ClickResult:
    """Clicks on every thing, at most ``most`` times; keep: see ``kept_answers``."""

    def ask(image: ImageArray, picture: TruePicture) -> list[dict[str, Any]]:
        encoded = model.predictor.encode(image)
        rows = []
        for thing in picture.things:
            own, oracle = (
                click_through(encoded, thing, choose=choose, most=most)
                for choose in (own_choice, oracle_choice)
            )
            rows.append({"own": own.to_row(), "oracle": oracle.to_row()})
        return rows

    settings = {"most": most, "obedience": True}  # what was kept before it was noted is no use
    asked = asked_of(model, things, measured="clicks", settings=settings)
    answered = answer_all(things, ask, asked=asked, keep=keep, watch=watch)
    rows = [
        ClickedThing(
            picture,
            thing,
            Walk.from_row(row["own"], picture.image_hw),
            Walk.from_row(row["oracle"], picture.image_hw),
        )
        for picture, kept in answered
        for thing, row in zip(picture.things, kept, strict=True)
    ]
    return ClickResult(asked | {"left out": things.left_out}, most, tuple(rows))


@dataclass(frozen=True, eq=False)
class ClickResult:
    """A ``Measurement``. most: clicks for one thing."""

    info: Mapping[str, Any]
    most: int
    rows: tuple[ClickedThing, ...]

    @property
    def title(self) -> str:
        return f"Clicks: {len(self.rows):,} things, up to {self.most} clicks"

    def miou(self, choice: str = "own", size: str | None = None) -> tuple[float, ...]:
        """Mean IoU after 1, 2, ... clicks; size: of things of one of ``SIZES`` alone."""
        walks = self._walks(choice, size)
        if not walks:
            return (float("nan"),) * self.most
        return tuple(np.mean([walk.ious for walk in walks], axis=0).tolist())

    def noc(self, target: float, choice: str = "own", size: str | None = None) -> float:
        """Mean number of clicks to an IoU; ``most`` where it is never reached."""
        counts = [walk.clicks_to(target) or self.most for walk in self._walks(choice, size)]
        return float(np.mean(counts)) if counts else float("nan")

    def failures(self, target: float, choice: str = "own", size: str | None = None) -> int:
        """How many things never reach an IoU."""
        return sum(walk.clicks_to(target) is None for walk in self._walks(choice, size))

    def obedience(self, label: int, choice: str = "own") -> tuple[int, float]:
        """Of the clicks 2 to 10 with a label, 1 = in, 0 = out: how many, and the share obeyed."""
        return _share([walk.obedience(label, _OBEYED_UNTIL) for walk in self._walks(choice, None)])

    def harm(self, choice: str = "own") -> tuple[int, float]:
        """Of the clicks 2 to 10: how many, and the share after which the IoU was lower by 0.05."""
        return _share([walk.harmed(_OBEYED_UNTIL) for walk in self._walks(choice, None)])

    def _walks(self, choice: str, size: str | None) -> list[Walk]:
        return [row.walk(choice) for row in self._by_size[size]]

    @cached_property
    def _by_size(self) -> dict[str | None, list[ClickedThing]]:
        groups: dict[str | None, list[ClickedThing]] = {None: list(self.rows)}
        for size in SIZES:
            groups[size] = [row for row in self.rows if row.thing.size == size]
        return groups

    def to_json(self) -> dict[str, Any]:
        def figures(choice: str, size: str | None) -> dict[str, Any]:
            return {
                "things": len(self._by_size[size]),
                "miou": [rounded(iou) for iou in self.miou(choice, size)],
                "noc": {_percent(t): rounded(self.noc(t, choice, size)) for t in TARGETS},
                "failures": {_percent(t): self.failures(t, choice, size) for t in TARGETS},
            }

        def obedience(choice: str) -> dict[str, Any]:
            shares = {
                "obeyed": self.obedience(1, choice),
                "kept out": self.obedience(0, choice),
                "harmful": self.harm(choice),
            }
            return {
                name: {"clicks": count, "share": rounded(share)}
                for name, (count, share) in shares.items()
            }

        return {
            choice: figures(choice, None)
            | obedience(choice)
            | {size: figures(choice, size) for size in SIZES}
            for choice in _CHOICES
        }

    def tables(self) -> tuple[Table, ...]:
        chosen = [(words, choice, None) for choice, words in _CHOICES.items()]
        sizes = [(size, "own", size) for size in SIZES]
        return (
            self._table("mIoU after clicks, and number of clicks (NoC)", chosen),
            self._table("By size, the model's choice", sizes),
            self._obedience_table(),
        )

    def _obedience_table(self) -> Table:
        columns = ("", "positive", "obeyed", "negative", "obeyed", "further clicks", "harmful")
        rows = []
        for choice, words in _CHOICES.items():
            shares = (self.obedience(1, choice), self.obedience(0, choice), self.harm(choice))
            cells = [cell for count, share in shares for cell in (count, rounded(share))]
            rows.append((words, *cells))
        return Table(f"Obedience to clicks 2 to {_OBEYED_UNTIL}", columns, tuple(rows))

    def _table(self, title: str, groups: Sequence[tuple[str, str, str | None]]) -> Table:
        after = [n for n in _SHOWN if n <= self.most]
        columns = ["", "things", *(f"{n} click{'s' * (n > 1)}" for n in after)]
        for target in TARGETS:
            columns += [f"NoC@{_percent(target)}", "failed"]
        rows = []
        for words, choice, size in groups:
            miou = self.miou(choice, size)
            row: list[Cell] = [words, len(self._by_size[size])]
            row += [rounded(miou[n - 1]) for n in after]
            for target in TARGETS:
                noc = rounded(self.noc(target, choice, size), decimals=2)
                row += [noc, None if noc is None else self.failures(target, choice, size)]
            rows.append(tuple(row))
        return Table(title, tuple(columns), tuple(rows))

    def plots(self) -> tuple[Plot, ...]:
        sizes = [(size, "own", size) for size in SIZES if self._by_size[size]]
        choices = [(words, choice, None) for choice, words in _CHOICES.items()]
        done = tuple(map(self._done, TARGETS))
        plots = [self._curves("IoU by clicks", choices)]
        if len(sizes) > 1:
            plots.append(self._curves("IoU by clicks and size", sizes))
        return (*plots, Plot("Done by clicks", "clicks", "share of things", done))

    def _curves(self, title: str, groups: Sequence[tuple[str, str, str | None]]) -> Plot:
        lines = [
            Line(words, tuple(enumerate(self.miou(choice, size), start=1)))
            for words, choice, size in groups
        ]
        return Plot(title, "clicks", "mean IoU", tuple(lines))

    def _done(self, target: float) -> Line:
        """The share of things that have reached an IoU after so many clicks."""
        counts = [walk.clicks_to(target) or self.most + 1 for walk in self._walks("own", None)]
        shares = [float(np.mean([n <= clicks for n in counts])) for clicks in self._numbers]
        return Line(f"IoU {target:.2f}", tuple(zip(map(float, self._numbers), shares, strict=True)))

    @property
    def _numbers(self) -> range:
        return range(1, self.most + 1)

    def cases(self) -> tuple[Case, ...]:
        return worst([_case(row) for row in self.rows])


def _case(row: ClickedThing) -> Case:
    own, count = row.own, len(row.own.ious)
    caption = f"{row.thing.label}: IoU {own.ious[0]:.2f} after 1 click"
    if count > 1:
        caption += f", {own.ious[-1]:.2f} after {count}"
    return Case(
        file_name=row.picture.file_name,
        value=float(np.mean(own.ious)),
        caption=caption,
        truth=truth_instances(row.thing),
        answer=as_instances([own.last], ("answer",)),
        points=np.array([(click.x, click.y) for click in own.clicks], np.float32),
        point_labels=np.array([click.label for click in own.clicks], np.int64),
    )


def _share(groups: Sequence[Sequence[bool]]) -> tuple[int, float]:
    """How many there are, and the share of those that are true; nan of none."""
    every = [one for group in groups for one in group]
    return len(every), float(np.mean(every)) if every else float("nan")


def _percent(target: float) -> str:
    return f"{round(100 * target)}"
