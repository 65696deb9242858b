"""One run of a command: check everything, load the models, work through the images, report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from perception.cli import weights_run
from perception.cli.batch import STDIN, Outcome, work_through
from perception.cli.options import Options
from perception.cli.tables import heading, instance_table, skipped_summary, stage_times
from perception.coco.write import coco_bytes, to_coco, write_coco
from perception.defaults import MODEL
from perception.detectors.protocol import as_examples, check_examples
from perception.errors import (
    ImageError,
    OutOfMemoryError,
    OutputError,
    PerceptionError,
    PromptError,
)
from perception.imaging.discover import Picture, find_images, missing_inputs
from perception.imaging.read import printable
from perception.instances import Instances
from perception.models import load as loading
from perception.models.explain import Explanation, dropped_line, explain, explanation_lines
from perception.models.model import Model
from perception.ops.windows import TileSize, check_tile
from perception.predictor.everything_settings import EverythingSettings
from perception.prompts.grammar import parse
from perception.runtime.batching import Stopwatch
from perception.runtime.files import check_writable
from perception.types import Prompt

Ask = Callable[[Model, Path | bytes], Instances]
"""Puts the run's question to a model about one image: a path, or a file's bytes."""

Explain = Callable[[Model, Sequence[Instances]], Explanation | None]
"""Says why classes were found in none of a run's images; None where all were, somewhere."""

_SECONDS_WITHOUT_BAR = 1.0

_MOST_PIPED = 512 << 20
"""Bytes of an image's file that are read from standard input."""

_LITTLE = 5
"""Masks of segment-everything; where fewer are left it is said at which limits the others fell."""

NANO_NOTE = (
    "note: nano is small: it knows drawn things well, and on photographs common ones; for the "
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


def explain_text(text: str | None, threshold: float) -> Explain:
    """Explains what wasn't found of a text; of examples alone there is nothing to say."""

    def explain_run(model: Model, results: Sequence[Instances]) -> Explanation | None:
        if text is None:
            return None
        return explain(results, parse(text), threshold=threshold, detector=model.detector)

    return explain_run


def skipped(shown: Mapping[str, Sequence[Sequence[float]]]) -> tuple[type[PerceptionError], ...]:
    """The errors that are of one image alone: whether examples lie in it depends on it."""
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

    def ask(model: Model, source: Path | bytes) -> Instances:
        return model.segment(
            source,
            points=prompt.points,
            point_labels=prompt.point_labels,
            boxes=prompt.boxes,
            candidates=candidates,
            max_pixels=options.max_pixels,
        )

    return ask


def ask_everything(options: Options, settings: Mapping[str, Any]) -> Ask:
    """Asks for everything; PromptError for settings (by name) that can't be used.

    Shows its progress over the points of an image if that takes long.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    points = EverythingSettings(**settings).point_count

    def ask(model: Model, source: Path | bytes) -> Instances:
        with tqdm(
            total=points,
            unit="point",
            delay=_SECONDS_WITHOUT_BAR,
            leave=False,
            disable=options.no_bar,
        ) as bar:
            found = model.everything(
                source, **settings, max_pixels=options.max_pixels, step=bar.update
            )
        if len(found) < _LITTLE and not options.quiet:
            limits = {name: found.info["everything"][name] for name in ("quality", "stability")}
            name = "standard input" if isinstance(source, bytes) else printable(str(source))
            tqdm.write(
                f"note: {name}: {dropped_line(found, **limits)}; "
                "a lower --quality or --stability lets more through",
                file=sys.stderr,
            )
        return found

    return ask


def run(
    options: Options,
    ask: Ask,
    *,
    skip: tuple[type[PerceptionError], ...] = (ImageError,),
    explains: Explain | None = None,
) -> int:
    """Answers all images and writes the results; returns the exit status.

    Whatever can be wrong with the inputs and the places to write is said before the models load.
    skip: the errors that are of one image alone, after which the others are still done; explain:
    says why something wasn't found, which stands in the JSON and in notes at the end.
    """
    pictures, piped = _pictures(options)
    _check_outputs(options)
    if options.model == MODEL and not options.quiet:
        click.echo(NANO_NOTE, err=True)
    weights_run.offer(options.model)
    watch = Stopwatch()
    with watch("load"):
        model = loading.load(
            options.model,
            device=options.device,
            precision=options.precision,
            threads=options.threads,
        )
    if options.prints_tables:
        click.echo(f"{options.model}: loaded in {watch.seconds['load']:.3f} s")
    no_bar = options.no_bar or (True if len(pictures) == 1 else None)
    with tqdm(total=len(pictures), unit="image", disable=no_bar) as bar:

        def tell(found: Instances, written: list[Path]) -> None:
            if options.prints_tables:
                tqdm.write(_section(found, written), file=sys.stdout)

        outcome = work_through(
            pictures,
            lambda path: ask(model, piped if path == STDIN else path),
            folder=options.folder,
            save=options.pictures,
            tell=tell,
            step=bar.update,
            skip=(*skip, OutOfMemoryError),
        )
    explanation = explains(model, outcome.results) if explains else None
    _write_json(options, outcome, explanation)
    if explanation is not None and not options.quiet:
        for line in explanation_lines(explanation):
            click.echo(f"note: {line}", err=True)
    status = _report_skipped(outcome, len(pictures))
    if outcome.interrupted:
        done = len(outcome.results) + len(outcome.skipped)
        into = f" and in {printable(str(options.json_path))}" if options.json_path else ""
        raise KeyboardInterrupt(
            *([f"{done:,} of {len(pictures):,} images are done{into}"] if outcome.results else [])
        )
    return status


def _pictures(options: Options) -> tuple[list[Picture], bytes]:
    """What the inputs name, and the bytes of the one that comes through standard input."""
    named = [text for text in options.inputs if text != str(STDIN)]
    note_missing(named, quiet=options.quiet)
    pictures = find_images(named) if named else []
    if len(named) == len(options.inputs):
        return pictures, b""
    name, names = "stdin", {picture.name for picture in pictures}
    while name in names:
        name = f"_{name}"
    return [*pictures, Picture(STDIN, name)], _piped()


def note_missing(inputs: Sequence[str], *, quiet: bool) -> None:
    """Says which inputs name nothing, before anything takes time; see ``missing_inputs``."""
    for text in missing_inputs(inputs):
        if not quiet:
            click.echo(f"note: {printable(text)}: no such file or folder", err=True)


def _piped() -> bytes:
    """An image's file from standard input; ImageError for none, or one that is too large."""
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError(
            "standard input: - reads an image from there: pipe one in, such as "
            "perception segment - --text cat < photo.jpg"
        )
    content = sys.stdin.buffer.read(_MOST_PIPED + 1)
    if not content:
        raise ImageError("standard input: nothing came; pipe an image in")
    if len(content) > _MOST_PIPED:
        raise ImageError(
            f"standard input: more than {_MOST_PIPED >> 20} MB; save it as a file, and name that"
        )
    return content


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
    """What is printed about one image."""
    lines = [heading(found), instance_table(found), f"  {stage_times(found.seconds)}"]
    return "\n".join([*lines, *(f"  wrote {printable(str(path))}" for path in written)])


def _write_json(options: Options, outcome: Outcome, explanation: Explanation | None) -> None:
    if not outcome.results:
        return
    content = to_coco(outcome.results, polygons=options.polygons, simplify=options.simplify or 0.0)
    if options.json_path is None:
        # A file is what annotate writes, to the byte; what is printed is for whoever asked now.
        if explanation is not None:
            content["info"]["not_found"] = explanation.to_json()
        sys.stdout.buffer.write(coco_bytes(content))
    else:
        write_coco(content, options.json_path)
        if options.prints_tables:
            click.echo(f"wrote {printable(str(options.json_path))}")


def _report_skipped(outcome: Outcome, total: int) -> int:
    if not outcome.skipped:
        return 0
    if total == 1:
        click.echo(f"perception: error: {outcome.skipped[0]}", err=True)
    else:
        click.echo(skipped_summary(outcome.skipped, total), err=True)
    return 1
