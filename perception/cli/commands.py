"""The commands: parse, call the library once, print.

Status: 0 done; 1 an error of ours, or images skipped; 2 usage; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
from click.shell_completion import shell_complete

from perception import __version__
from perception.cli.annotate import annotate, export_annotations
from perception.cli.evaluate import evaluate
from perception.cli.options import (
    MODEL_NAME,
    Command,
    Group,
    Options,
    disjoint_option,
    drop_nested_option,
    example_options,
    numbers,
    polygon_options,
    shared_options,
    threshold_option,
    tile_option,
)
from perception.cli.review import review
from perception.cli.serve import serve
from perception.cli.weights import weights
from perception.defaults import (
    CROP_LAYERS,
    MIN_AREA,
    MIN_REGION,
    NMS,
    POINTS_PER_SIDE,
    QUALITY,
    STABILITY,
)
from perception.errors import ImageError, PerceptionError, PromptError, hide_pillow_messages

if TYPE_CHECKING:
    from perception.ops.windows import TileSize

_PACKAGE = Path(__file__).parents[1]
_COMPLETE = "_PERCEPTION_COMPLETE"
"""By this variable a shell asks what could be typed next, as click has it."""

_INTERRUPTED, _BROKEN_PIPE = 130, 141  # 128 + the signal, as shells count


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=[
        ('perception segment photo.jpg --text "cat. red car"', "masks of what a text names"),
        ("perception segment photo.jpg --point 205,400", "of what lies at a point"),
        ("perception everything photo.jpg", "of all that there is"),
        ('perception annotate photos --text "cat. dog" --out cats.json', "a folder into one file"),
        ("perception serve photos", "click and draw, in a browser"),
        ("perception weights pull base", "a model made for photographs"),
    ],
    epilog="""\b
Tab completes commands, options, files and models after one of
  eval "$(_PERCEPTION_COMPLETE=bash_source perception)"
  eval "$(_PERCEPTION_COMPLETE=zsh_source perception)"
  _PERCEPTION_COMPLETE=fish_source perception | source""",
)
@click.version_option(__version__, prog_name="perception")
def cli() -> None:
    """Say it, get masks: an image and a sentence in, labelled masks out."""


@cli.command(
    short_help="Cut out what a text, points or boxes say.",
    examples=[
        ('perception segment photo.jpg --text "cat. vehicle: car | truck"', "overlay and COCO"),
        ("perception segment photo.jpg --box 410,335,548,440 --save cutouts", ""),
        ("curl -L URL | perception segment - --text cat --json -", "from and into a pipe"),
        ("perception segment photo.jpg --text cat --model base", "made for photographs"),
    ],
)
@click.option("--text", help='What to find, such as "cat. vehicle: car | truck, !mannequin".')
@click.option(
    "--point",
    "points",
    multiple=True,
    callback=numbers("x,y or x,y,1 or x,y,0", 2, 3),
    metavar="x,y[,0|1]",
    help="A place in the thing (1, the default) or outside it (0), in pixels. Repeatable: all "
    "points are one prompt.",
)
@click.option(
    "--box",
    "boxes",
    multiple=True,
    callback=numbers("x0,y0,x1,y1", 4),
    metavar="x0,y0,x1,y1",
    help="A box around the thing, in pixels. Repeatable: each box is a prompt of its own.",
)
@click.option(
    "--candidates", is_flag=True, help="All three masks of a lone point, not only the best one."
)
@example_options
@threshold_option
@tile_option
@drop_nested_option
@disjoint_option
@polygon_options
@shared_options(["overlay", "masks", "cutouts"])
def segment(
    text: str | None,
    points: Sequence[Sequence[float]],
    boxes: Sequence[Sequence[float]],
    candidates: bool,
    examples: Sequence[Sequence[float]],
    not_examples: Sequence[Sequence[float]],
    threshold: float,
    tile: TileSize,
    drop_nested: bool,
    disjoint: bool,
    **shared: Any,
) -> int:
    """Cut out what a text names, or what points and boxes show."""
    options = Options(**shared)
    shown = {"examples": examples, "not_examples": not_examples}
    finds = text is not None or any(shown.values())
    if finds == bool(points or boxes):
        raise click.UsageError("give either --text or --example, or --point and --box")
    from perception.cli import run

    if finds:
        ask = run.ask_text(
            options,
            text,
            threshold,
            tile=tile,
            drop_nested=drop_nested,
            disjoint=disjoint,
            **shown,
        )
        explains = run.explain_text(text, threshold)
        return run.run(options, ask, skip=run.skipped(shown), explains=explains)
    if tile is not None or drop_nested or disjoint:
        raise click.UsageError("--tile, --drop-nested and --disjoint are for --text")
    labels = _point_labels(points)
    places = [point[:2] for point in points]
    ask = run.ask_prompt(options, places, labels, boxes, candidates=candidates)
    # Whether a point lies in an image depends on the image.
    return run.run(options, ask, skip=(ImageError, PromptError))


@cli.command(
    examples=[('perception detect photos --text "cat. dog" --json boxes.json', "a whole folder")]
)
@click.option("--text", help='What to find, such as "cat. vehicle: car | truck, !bus".')
@example_options
@threshold_option
@tile_option
@shared_options(["overlay"])
def detect(
    text: str | None,
    examples: Sequence[Sequence[float]],
    not_examples: Sequence[Sequence[float]],
    threshold: float,
    tile: TileSize,
    **shared: Any,
) -> int:
    """Find what a text names: boxes only."""
    shown = {"examples": examples, "not_examples": not_examples}
    if text is None and not any(shown.values()):
        raise click.UsageError("give --text, or --example")
    from perception.cli import run

    options = Options(**shared)
    ask = run.ask_detect(options, text, threshold, tile=tile, **shown)
    explains = run.explain_text(text, threshold)
    return run.run(options, ask, skip=run.skipped(shown), explains=explains)


@cli.command(
    examples=[
        ("perception everything photo.jpg", ""),
        ("perception everything photo.jpg --quality 0.5 --stability 0.5", "finds more"),
    ]
)
@click.option(
    "--points-per-side",
    type=click.IntRange(min=1),
    default=POINTS_PER_SIDE,
    show_default=True,
    help="Points along each side of the grid that is asked about; more find smaller things.",
)
@click.option(
    "--quality",
    type=click.FloatRange(0, 1),
    help="Least quality that the model predicts for a mask; lower finds more.  [default: what "
    f"suits the model: 0.6 of nano, {QUALITY:g} of others]",
)
@click.option(
    "--stability",
    type=click.FloatRange(0, 1),
    help="Least stability of a mask: how little it changes with its threshold.  [default: what "
    f"suits the model: 0.7 of nano, {STABILITY:g} of others]",
)
@click.option(
    "--nms",
    type=click.FloatRange(0, 1),
    default=NMS,
    show_default=True,
    help="Of masks whose boxes overlap more than this (IoU), the best is kept.",
)
@click.option(
    "--crop-layers",
    type=click.IntRange(min=0),
    default=CROP_LAYERS,
    show_default=True,
    help="Look for smaller things in crops, too: layer n adds 4^n of them.",
)
@click.option(
    "--min-region",
    type=click.IntRange(min=0),
    default=MIN_REGION,
    show_default=True,
    help="Fill holes and drop loose parts that have fewer pixels.",
)
@click.option(
    "--min-area",
    type=click.IntRange(min=0),
    default=MIN_AREA,
    show_default=True,
    help="Leave out masks that have fewer pixels.",
)
@polygon_options
@shared_options(["overlay", "masks", "cutouts"])
def everything(
    points_per_side: int,
    quality: float | None,
    stability: float | None,
    nms: float,
    crop_layers: int,
    min_region: int,
    min_area: int,
    **shared: Any,
) -> int:
    """Cut out all that there is, without being told what."""
    from perception.cli import run

    options = Options(**shared)
    settings = {
        "points_per_side": points_per_side,
        "quality": quality,
        "stability": stability,
        "nms": nms,
        "crop_layers": crop_layers,
        "min_region": min_region,
        "min_area": min_area,
    }
    return run.run(options, run.ask_everything(options, settings))


@click.command(
    cls=Command,
    short_help="Write a model as ONNX files, which need no torch.",
    examples=[("perception export sam-vit-b --out sam-onnx", "then --model ./sam-onnx")],
)
@click.argument("model", type=MODEL_NAME)
@click.option("--out", required=True, metavar="DIR", help="Folder for the ONNX files.")
@click.option(
    "--signature",
    "signatures",
    type=click.Choice(["fast", "segment-anything"]),
    multiple=True,
    default=["fast"],
    show_default=True,
    help="fast: encoder, preparer and decoder, as perception runs them. segment-anything: a "
    "decoder that can take the place of that package's export. Repeatable.",
)
@click.option(
    "--single-mask",
    is_flag=True,
    help="With segment-anything: give the one mask that the prompt calls for, not all four.",
)
@click.option(
    "--int8",
    is_flag=True,
    help="With fast: the encoder once more with int8 weights, a quarter of the size and faster.",
)
def export(model: str, out: str, signatures: Sequence[str], single_mask: bool, int8: bool) -> int:
    """Write a model as ONNX files: "nano", SAM or a detector, by name, file or folder.

    A file is written only if it gives what torch gives; a card beside it says how closely.
    """
    from perception.cli import weights_run
    from perception.models.export import export_checkpoint

    if single_mask and "segment-anything" not in signatures:
        raise click.UsageError("--single-mask is for --signature segment-anything")
    if int8 and "fast" not in signatures:
        raise click.UsageError("--int8 is for --signature fast")
    weights_run.offer(model)
    files = export_checkpoint(
        model, Path(out), signatures=signatures, single_mask=single_mask, int8=int8
    )
    for path in files:
        click.echo(f"wrote {path} and its card")
    return 0


@click.command(
    cls=Command,
    short_help="Check a COCO file of any tool, and mend it.",
    examples=[
        ("perception verify annotations.json --images photos", ""),
        ("perception verify annotations.json --fix --out mended.json", ""),
    ],
)
@click.argument("file", metavar="FILE")
@click.option("--images", metavar="DIR", help="Folder of the images, to check their files, too.")
@click.option(
    "--fix", is_flag=True, help="Write a mended copy: only what can be mended in one way is."
)
@click.option("--out", metavar="FILE", help="The mended copy.  [default: FILE.fixed.json]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def verify(
    file: str, images: str | None, fix: bool, out: str | None, as_json: bool, quiet: bool
) -> int:
    """Check a COCO file of any tool: ids, boxes, areas, masks, paths.

    Status 1 if there are errors: loaders break, or numbers come out wrong.
    """
    if out is not None and not fix:
        raise click.UsageError("--out is for --fix")
    from perception.cli import verify as command

    return command.run(file, images=images, fix=fix, out=out, as_json=as_json, quiet=quiet)


# In the order of use, which is that of the help.
for command in (
    annotate,
    serve,
    review,
    export_annotations,
    verify,
    weights,
    evaluate,
    export,
):
    cli.add_command(command)


def main() -> None:
    """Runs the command line and ends the process with its status."""
    for stream in (sys.stdout, sys.stderr):
        # A file name that isn't text must not end in an encoding error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.showwarning = _note
    hide_pillow_messages()
    asked = os.environ.get(_COMPLETE)
    if asked:
        sys.exit(shell_complete(cli, {}, "perception", _COMPLETE, asked))
    code = status(sys.argv[1:])
    if code == _INTERRUPTED:
        # Python would wait for a thread that is in the middle of a model.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def status(arguments: Sequence[str]) -> int:
    """Runs the command line; says in one line what went wrong and returns the exit status."""
    try:
        with cli.make_context("perception", list(arguments)) as context:
            result = cli.invoke(context)
        sys.stdout.flush()
        return int(result or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        _complain(f"{error.format_message()} (see {where or 'perception'} --help)")
        return 2
    except PerceptionError as error:
        _complain(str(error))
        return 1
    except MemoryError:
        _complain("not enough memory; use a smaller image or close other programs")
        return 1
    except click.Abort:  # Ctrl-C, or no more input, in place of an answer to a question
        click.echo(err=True)  # The question's line is still open.
        _complain("interrupted")
        return _INTERRUPTED
    except KeyboardInterrupt as stop:
        _complain("; ".join(["interrupted", *map(str, stop.args)]))
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Python would still complain when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001  # part of the form
    line: str | None = None,
) -> None:
    """Says a warning of ours in one line; all others as Python does."""
    if issubclass(category, RuntimeWarning) and Path(filename).is_relative_to(_PACKAGE):
        click.echo(f"note: {message}", err=True)
    else:
        click.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True)


def _complain(message: str) -> None:
    click.echo(f"perception: error: {' '.join(message.split())}", err=True)


def _point_labels(points: Sequence[Sequence[float]]) -> list[int]:
    labels = [int(point[2]) if len(point) == 3 else 1 for point in points]
    if any(len(point) == 3 and point[2] not in (0, 1) for point in points):
        raise click.UsageError("the third number of --point is 1 (in the thing) or 0 (outside it)")
    return labels
