"""The commands: parse, call the library once, print.

Status: 0 done; 1 an error of ours, or pictures skipped; 2 usage; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from perception.cli.options import Options, numbers, shared_options
from perception.errors import PerceptionError
from perception.version import __version__

_INTERRUPTED, _BROKEN_PIPE = 130, 141  # 128 + the signal, as shells count


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="perception")
def cli() -> None:
    """Say it, get masks: a picture and a sentence in, labelled masks out."""


@cli.command()
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
@shared_options(["overlay", "masks", "cutouts"])
def segment(
    points: Sequence[Sequence[float]],
    boxes: Sequence[Sequence[float]],
    candidates: bool,
    **shared: Any,
) -> int:
    """Cut out what a text names, or what points and boxes show."""
    options = Options(**shared)
    if (options.text is None) == (not points and not boxes):
        raise click.UsageError("give either --text, or --point and --box")
    from perception.cli import run

    if options.text is not None:
        return run.run(options, run.ask_text(options))
    labels = _point_labels(points)
    places = [point[:2] for point in points]
    return run.run(options, run.ask_prompt(options, places, labels, boxes, candidates=candidates))


@cli.command()
@click.option(
    "--text", required=True, help='What to find, such as "cat. vehicle: car | truck, !bus".'
)
@shared_options(["overlay"])
def detect(**shared: Any) -> int:
    """Find what a text names: boxes only."""
    from perception.cli import run

    options = Options(**shared)
    return run.run(options, run.ask_text(options, masks=False))


def main() -> None:
    """Runs the command line and ends the process with its status."""
    for stream in (sys.stdout, sys.stderr):
        # A file name that isn't text must not end in an encoding error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(status(sys.argv[1:]))


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
        _complain("not enough memory; use a smaller picture or close other programs")
        return 1
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left. Python would still complain when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE


def _complain(message: str) -> None:
    click.echo(f"perception: error: {' '.join(message.split())}", err=True)


def _point_labels(points: Sequence[Sequence[float]]) -> list[int]:
    labels = [int(point[2]) if len(point) == 3 else 1 for point in points]
    if any(len(point) == 3 and point[2] not in (0, 1) for point in points):
        raise click.UsageError("the third number of --point is 1 (in the thing) or 0 (outside it)")
    return labels
