"""One run of a command: check everything, load the models, work through the pictures, report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from perception import loading
from perception.cli.batch import Outcome, work_through
from perception.cli.options import Options
from perception.cli.report import heading, instance_table, skipped_summary, stage_times
from perception.defaults import MODEL
from perception.errors import (
    ImageError,
    OutOfMemoryError,
    OutputError,
    PerceptionError,
    PromptError,
)
from perception.examples import as_examples, check_examples
from perception.formats.atomic import check_writable
from perception.formats.coco import coco_bytes, to_coco, write_coco
from perception.images import printable
from perception.inputs import find_images
from perception.instances import Instances
from perception.model import Model
from perception.phrases import parse
from perception.segmenter.everything_settings import EverythingSettings
from perception.stopwatch import Stopwatch
from perception.tiles import TileSize, check_tile
from perception.types import Prompt

Ask = Callable[[Model, Path], Instances]
"""Puts the run's question to a model about one picture."""

_SECONDS_WITHOUT_BAR = 1.0
_NOTHING_PASSED = "no mask is good enough: a lower --quality or --stability lets more through"
NANO_NOTE = (
    "note: nano is made for drawn things and simple cases, not for photographs at large; for the "
    "published models see perception weights list (extra perception-masks[torch]); "
    "-q silences this note"
)


def ask_text(
    options: Options,
    text: str | None,
    threshold: float,
    *,
    tile: TileSize = None,
    drop_nested: bool = False,
    disjoint: bool = False,
    examples: Sequence[Sequence[float]] = (),
    not_examples: Sequence[Sequence[float]] = (),
) -> Ask:
    """Asks for what text and examples say; PromptError for those, or a tile, that can't be used."""
    asked = _asked(options, text, threshold, tile, examples, not_examples)
    return lambda model, path: model(path, drop_nested=drop_nested, disjoint=disjoint, **asked)


def ask_detect(
    options: Options,
    text: str | None,
    threshold: float,
    *,
    tile: TileSize = None,
    examples: Sequence[Sequence[float]] = (),
    not_examples: Sequence[Sequence[float]] = (),
) -> Ask:
    """As ``ask_text``, boxes only."""
    asked = _asked(options, text, threshold, tile, examples, not_examples)
    return lambda model, path: model.detect(path, **asked)


def skipped(shown: Mapping[str, Sequence[Sequence[float]]]) -> tuple[type[PerceptionError], ...]:
    """The errors that are of one picture alone: whether examples lie in it depends on it."""
    return (ImageError, PromptError) if any(shown.values()) else (ImageError,)


def _asked(
    options: Options,
    text: str | None,
    threshold: float,
    tile: TileSize,
    examples: Sequence[Sequence[float]],
    not_examples: Sequence[Sequence[float]],
) -> dict[str, Any]:
    """What both ask, by the names that a model has for it; checked before one is loaded."""
    if text is not None:
        parse(text)
    check_tile(tile)
    check_examples(as_examples(examples, not_examples), text, tile)
    return {
        "text": text,
        "threshold": threshold,
        "tile": tile,
        "examples": examples,
        "not_examples": not_examples,
        "max_pixels": options.max_pixels,
    }


def ask_prompt(
    options: Options,
    points: Sequence[Sequence[float]],
    labels: Sequence[int],
    boxes: Sequence[Sequence[float]],
    *,
    candidates: bool,
) -> Ask:
    """Asks for what points and boxes show; PromptError for those that make no prompt."""
    prompt = Prompt(
        points=np.array(points, np.float32),
        point_labels=np.array(labels, np.int64),
        boxes=np.array(boxes, np.float32),
    )

    def ask(model: Model, path: Path) -> Instances:
        return model.segment(
            path,
            points=prompt.points,
            point_labels=prompt.point_labels,
            boxes=prompt.boxes,
            candidates=candidates,
            max_pixels=options.max_pixels,
        )

    return ask


def ask_everything(options: Options, settings: Mapping[str, Any]) -> Ask:
    """Asks for everything; PromptError for settings (by name) that can't be used.

    Shows its progress over the points of a picture if that takes long.
    """
    points = EverythingSettings(**settings).point_count

    def ask(model: Model, path: Path) -> Instances:
        with tqdm(
            total=points,
            unit="point",
            delay=_SECONDS_WITHOUT_BAR,
            leave=False,
            disable=options.quiet,
        ) as bar:
            found = model.everything(
                path, **settings, max_pixels=options.max_pixels, step=bar.update
            )
        if not len(found) and not options.quiet:
            tqdm.write(f"note: {printable(str(path))}: {_NOTHING_PASSED}", file=sys.stderr)
        return found

    return ask


def run(
    options: Options, ask: Ask, *, skip: tuple[type[PerceptionError], ...] = (ImageError,)
) -> int:
    """Answers all pictures and writes the results; returns the exit status.

    Whatever can be wrong with the inputs and the places to write is said before the models load.
    skip: the errors that are of one picture alone, after which the others are still done.
    """
    pictures = find_images(options.inputs)
    _check_outputs(options)
    if "overlay" in options.pictures:
        # Takes longer to import than nano to load and answer: it can do so meanwhile.
        Thread(target=import_module, args=("supervision",), daemon=True).start()
    if options.model == MODEL and not options.quiet:
        click.echo(NANO_NOTE, err=True)
    watch = Stopwatch()
    with watch("load"):
        model = loading.load(
            options.model,
            device=options.device,
            precision=options.precision,
            threads=options.threads,
        )
    if not options.prints_json:
        click.echo(f"{options.model}: loaded in {watch.seconds['load']:.3f} s")
    quiet = options.quiet or len(pictures) == 1
    with tqdm(total=len(pictures), unit="picture", disable=quiet) as bar:

        def tell(found: Instances, written: list[Path]) -> None:
            if not options.prints_json:
                tqdm.write(_section(found, written), file=sys.stdout)

        outcome = work_through(
            pictures,
            lambda path: ask(model, path),
            folder=options.folder,
            save=options.pictures,
            tell=tell,
            step=bar.update,
            skip=(*skip, OutOfMemoryError),
        )
    _write_json(options, outcome)
    return _report_skipped(outcome, len(pictures))


def _check_outputs(options: Options) -> None:
    if options.simplify is not None and not options.polygons:
        raise click.UsageError("--simplify is for --polygons")
    if options.pictures:
        check_writable(options.folder)
    path = options.json_path
    if path is not None:
        check_writable(path.parent)
        if path.is_dir():
            raise OutputError(f"{printable(str(path))}: a folder; name a file for --json")


def _section(found: Instances, written: Sequence[Path]) -> str:
    """What is printed about one picture."""
    lines = [heading(found), instance_table(found), f"  {stage_times(found.seconds)}"]
    return "\n".join([*lines, *(f"  wrote {printable(str(path))}" for path in written)])


def _write_json(options: Options, outcome: Outcome) -> None:
    if not outcome.results:
        return
    content = to_coco(outcome.results, polygons=options.polygons, simplify=options.simplify or 0.0)
    if options.json_path is None:
        sys.stdout.buffer.write(coco_bytes(content))
    else:
        write_coco(content, options.json_path)
        click.echo(f"wrote {printable(str(options.json_path))}")


def _report_skipped(outcome: Outcome, total: int) -> int:
    if not outcome.skipped:
        return 0
    if total == 1:
        click.echo(f"perception: error: {outcome.skipped[0]}", err=True)
    else:
        click.echo(skipped_summary(outcome.skipped, total), err=True)
    return 1
