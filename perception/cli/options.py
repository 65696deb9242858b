"""What the commands take, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from perception.defaults import MAX_PIXELS, MODEL, THREADS, THRESHOLD

Command = TypeVar("Command", bound=Callable[..., Any])
OUT = "perception-out"
_STDOUT = "-"


Callback = Callable[[click.Context, click.Parameter, Any], Any]


def numbers(form: str, *lengths: int) -> Callback:
    """Reads a repeatable option of comma-separated numbers, of which there are ``lengths``."""

    def read(_context: click.Context, _parameter: click.Parameter, values: Any) -> Any:
        return tuple(_numbers(value, form, lengths) for value in values)

    return read


def _numbers(text: str, form: str, lengths: tuple[int, ...]) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in lengths:
        raise click.BadParameter(f"expected {form}, got {text!r}")
    return values


def words(known: Sequence[str]) -> Callback:
    """Reads an option whose value is a comma-separated choice of words; "" chooses nothing."""

    def read(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        if value is None:
            return None
        chosen = tuple(word.strip() for word in value.split(",") if word.strip())
        for word in chosen:
            if word not in known:
                raise click.BadParameter(f"{word!r} is none of {', '.join(known)}")
        return chosen

    return read


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    inputs: tuple[str, ...]
    out: str | None
    json: str | None
    save: tuple[str, ...] | None
    model: str
    threads: int
    max_pixels: int
    quiet: bool

    @property
    def folder(self) -> Path:
        """Where pictures are written, and the JSON if no other place is named."""
        return Path(self.out or OUT)

    @property
    def prints_json(self) -> bool:
        """Whether standard output holds JSON and nothing else."""
        return self.json == _STDOUT

    @property
    def pictures(self) -> tuple[str, ...]:
        """Which pictures to write; none if only printed JSON is asked for."""
        if self.save is not None:
            return self.save
        return () if self.prints_json and self.out is None else ("overlay",)

    @property
    def json_path(self) -> Path | None:
        """The JSON file, None for standard output."""
        if self.prints_json:
            return None
        return Path(self.json) if self.json else self.folder / "coco.json"


threshold_option = click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=THRESHOLD,
    show_default=True,
    help="Least score of a phrase; higher finds less and errs less.",
)


nms_option = click.option(
    "--nms",
    type=click.FloatRange(0, 1),
    help="Of boxes of one class that overlap more than this (IoU), the best is kept.  "
    "[default: as perception segment]",
)
"""None where it isn't given: the usual value lies in a module that is too slow to import here."""


def shared_options(pictures: Sequence[str]) -> Callable[[Command], Command]:
    """The inputs and options of every command; pictures: what ``--save`` may name."""
    decorators = [
        click.argument("inputs", nargs=-1, required=True, metavar="PICTURE|FOLDER|GLOB..."),
        click.option("--out", metavar="DIR", help=f"Folder for what is written.  [default: {OUT}]"),
        click.option(
            "--json",
            metavar="FILE|-",
            help="COCO file. - prints it, and nothing else, on standard output; then pictures are "
            "written only if --out or --save asks for them.  [default: coco.json in --out]",
        ),
        click.option(
            "--save",
            callback=words(pictures),
            metavar=",".join(pictures),
            help="Pictures to write.  [default: overlay]",
        ),
        click.option("--model", default=MODEL, show_default=True, help="Model to use."),
        click.option(
            "--threads",
            type=click.IntRange(min=0),
            default=THREADS,
            show_default=True,
            help="CPU threads; 0 takes all the cores there are.",
        ),
        click.option(
            "--max-pixels",
            type=click.IntRange(min=1),
            default=MAX_PIXELS,
            show_default=True,
            help="Refuse larger pictures.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="No notes and no progress bar."),
    ]

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate
