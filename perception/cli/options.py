"""What the commands take, and what follows from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from perception.defaults import AUTO, MAX_PIXELS, MODEL, THREADS, THRESHOLD

Function = TypeVar("Function", bound=Callable[..., Any])
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


def all_of(*decorators: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Arguments and options as one decorator, in the order in which help lists them."""

    def decorate(command: Function) -> Function:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


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


class _PathText(click.types.StringParamType):
    """Text that names a file or a folder: a shell completes it as such."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What the shell is to complete; it knows the files."""
        del ctx, param
        return [CompletionItem(incomplete, type=self._kind)]


class _ModelText(click.types.StringParamType):
    """The name of a model, or a path: a shell completes both, and the part behind a +."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so."""
        del ctx, param
        from perception.models.names import known_names

        if "/" in incomplete or incomplete.startswith("."):
            return [CompletionItem(incomplete, type="file")]
        before, plus, begun = incomplete.rpartition("+")
        names = [name for name in known_names() if name.startswith(begun)]
        return [CompletionItem(f"{before}{plus}{name}") for name in names]


MODEL_NAME = _ModelText()
_FOLDERS = re.compile(r"\b(DIR|FOLDER)\b")
_FILES = re.compile(r"\b(FILE|PICTURE|RUN|GLOB|TRUTH|RESULTS|LIST)\b")


class Command(click.Command):
    """A command whose help shows examples first, and whose paths a shell completes.

    examples: a command line each, and what it does.
    """

    def __init__(
        self, *arguments: Any, examples: Sequence[tuple[str, str]] = (), **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples
        for parameter in self.params:
            metavar = parameter.metavar or ""
            if type(parameter.type) is click.types.StringParamType:
                if _FILES.search(metavar):
                    parameter.type = _PathText("file")
                elif _FOLDERS.search(metavar):
                    parameter.type = _PathText("dir")

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the description, and the examples behind it."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            width = max(len(command) for command, _ in self.examples)
            with formatter.section("Examples"):
                for command, does in self.examples:
                    line = f"{command:{width}}  # {does}" if does else command
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(Command, click.Group):
    """A group that lists its commands in the order in which they were added: that of use."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in order."""
        del ctx
        return list(self.commands)


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    inputs: tuple[str, ...]
    out: str | None
    json: str | None
    save: tuple[str, ...] | None
    model: str
    device: str
    precision: str
    threads: int
    max_pixels: int
    quiet: bool
    polygons: bool = False
    simplify: float | None = None

    @property
    def folder(self) -> Path:
        """Where images are written, and the JSON if no other place is named."""
        return Path(self.out or OUT)

    @property
    def prints_json(self) -> bool:
        """Whether standard output holds JSON and nothing else."""
        return self.json == _STDOUT

    @property
    def prints_tables(self) -> bool:
        """Whether standard output tells what was found, for people."""
        return not (self.prints_json or self.quiet)

    @property
    def no_bar(self) -> bool | None:
        """What tqdm takes: no progress bar if it is to be quiet, nor where no terminal shows it."""
        return self.quiet or None

    @property
    def pictures(self) -> tuple[str, ...]:
        """Which images to write; none if only printed JSON is asked for."""
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


def device_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Reads the name of a device; whether it is there is asked when a model is loaded."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        raise click.BadParameter(f"expected auto, cpu, cuda, cuda:N or mps, got {value!r}")
    return value


def model_options(command: Function) -> Function:
    """The options that say which model to use, and where and how it computes."""
    return all_of(
        click.option(
            "--model",
            type=MODEL_NAME,
            default=MODEL,
            show_default=True,
            help="nano, base, large, sam3, DETECTOR+SEGMENTER, or a path in place of either; "
            "perception weights list names them all.",
        ),
        click.option(
            "--device",
            default=AUTO,
            show_default=True,
            callback=device_name,
            metavar="auto|cpu|cuda[:N]|mps",
            help="Where the model computes; auto takes a GPU if there is one.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default=AUTO,
            show_default=True,
            help="auto: fp32 on a CPU, which gives the same masks on every machine; bf16 on a GPU.",
        ),
    )(command)


threads_option = click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=THREADS,
    show_default=True,
    help="CPU threads; 0 takes all the cores there are.",
)

max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=MAX_PIXELS,
    show_default=True,
    help="Refuse larger images.",
)


def _tile(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    if value in (None, AUTO):
        return value
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(
            f"expected a number of pixels, got {value!r}; before an image write --tile {AUTO}"
        ) from None


tile_option = click.option(
    "--tile",
    is_flag=False,
    flag_value=AUTO,
    callback=_tile,
    metavar=f"PIXELS|{AUTO}",
    help="Look at large images in overlapping tiles, too, of so many pixels a side; auto, or "
    "nothing behind it, is what the detector sees without scaling down.",
)


def example_options(command: Function) -> Function:
    """Boxes that show what is meant, for the models that take them."""
    return all_of(
        click.option(
            "--example",
            "examples",
            multiple=True,
            callback=numbers("x0,y0,x1,y1", 4),
            metavar="x0,y0,x1,y1",
            help="A box, in pixels, around such a thing as is meant: all that is like it is found. "
            "With --text for one class, or without. Repeatable. Only for models that take it: "
            "sam3.",
        ),
        click.option(
            "--not-example",
            "not_examples",
            multiple=True,
            callback=numbers("x0,y0,x1,y1", 4),
            metavar="x0,y0,x1,y1",
            help="A box around something that isn't meant. Repeatable.",
        ),
    )(command)


drop_nested_option = click.option(
    "--drop-nested",
    is_flag=True,
    help="Leave out masks that are a part of a larger one of their class.",
)

disjoint_option = click.option(
    "--disjoint",
    is_flag=True,
    help="Masks that share no pixel: a part wins over its whole, else the better score.",
)


def polygon_options(command: Function) -> Function:
    """Outlines in place of run lengths in the COCO file, and how many corners they have."""
    return all_of(
        click.option(
            "--polygons", is_flag=True, help="In the COCO file outlines in place of run lengths."
        ),
        click.option(
            "--simplify",
            type=click.FloatRange(min=0),
            metavar="PX",
            help="With --polygons: outlines with few corners, which a hand can edit, at most so "
            "many pixels from the middle of the pixels' steps.  [default: 0, all corners]",
        ),
    )(command)


def shared_options(pictures: Sequence[str]) -> Callable[[Function], Function]:
    """The inputs and options of every command; images: what ``--save`` may name."""
    return all_of(
        click.argument("inputs", nargs=-1, required=True, metavar="PICTURE|FOLDER|GLOB|-..."),
        click.option("--out", metavar="DIR", help=f"Folder for what is written.  [default: {OUT}]"),
        click.option(
            "--json",
            metavar="FILE|-",
            help="COCO file. - prints it, and nothing else, on standard output; then images are "
            "written only if --out or --save asks for them.  [default: coco.json in --out]",
        ),
        click.option(
            "--save",
            callback=words(pictures),
            metavar=",".join(pictures),
            help="Pictures to write.  [default: overlay]",
        ),
        model_options,
        threads_option,
        max_pixels_option,
        click.option(
            "-q", "--quiet", is_flag=True, help="Errors only: no tables, notes or progress bar."
        ),
    )
