"""``perception review``: a page that shows what an annotation run has found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import click

from perception.cli.options import Command, nms_option, threshold_option
from perception.defaults import PER_CLASS

_SECONDS_WITHOUT_BAR = 2.0
Thing = TypeVar("Thing")


@click.command(
    cls=Command,
    short_help="Show what a run has found, as one HTML page.",
    examples=[
        ("perception review cats.json", "writes cats.review.html beside it"),
    ],
)
@click.argument("run", metavar="RUN")
@click.option(
    "--out", metavar="FILE", help="HTML file.  [default: RUN with .review.html for its suffix]"
)
@click.option(
    "--images", metavar="DIR|URL", help="Where the images are now.  [default: where they were]"
)
@threshold_option
@nms_option
@click.option(
    "--scores-from",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="Where the histograms of scores begin; masks that aren't made down to it are made first.  "
    "[default: the run's floor]",
)
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=PER_CLASS,
    show_default=True,
    help="Instances of each class to show, spread over their scores.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def review(
    run: str,
    out: str | None,
    images: str | None,
    threshold: float,
    nms: float | None,
    scores_from: float | None,
    per_class: int,
    quiet: bool,
) -> int:
    """Show what an annotation run has found, in one HTML file for people to look at.

    RUN: what annotate was told to write, or the .run file beside it, finished or not. Contact
    sheets by class, scores and sizes, the most uncertain instances, and what failed.
    """
    from perception.cli.annotate_run import make_masks_shown
    from perception.detectors.decode import SAME_CLASS_IOU, Labelling
    from perception.imaging.read import printable
    from perception.report.html import unwatched
    from perception.report.review import write_review
    from perception.runs.read import RunReader, find_run
    from perception.runs.results import check_stored
    from perception.runs.store import SUFFIX

    path = find_run(Path(run))
    target = Path(out) if out else path.with_name(_page_name(path.name.removesuffix(SUFFIX)))
    iou = SAME_CLASS_IOU if nms is None else nms
    with RunReader(path) as reader:
        settings = reader.settings
        least = min(threshold, settings["floor"] if scores_from is None else scores_from)
        check_stored(settings["floor"], settings["floor_nms"], threshold=least, nms=iou)
    make_masks_shown(path, Labelling(least, iou), images=images, quiet=quiet)
    with RunReader(path) as reader:
        written = write_review(
            reader,
            target,
            images=images,
            threshold=threshold,
            nms=iou,
            scores_from=least,
            per_class=per_class,
            watch=unwatched if quiet else _bar,
        )
    click.echo(
        f"wrote {printable(str(target))}: {written.instances:,} instances of "
        f"{written.classes:,} classes, {written.bytes / 1e6:.1f} MB"
    )
    if written.missing:
        click.echo(
            f"note: {written.missing:,} shown without their image, which is gone or another now; "
            "--images says where the images are",
            err=True,
        )
    return 0


def _bar(things: Iterable[Thing], *, total: int) -> Iterable[Thing]:
    from tqdm import tqdm

    bar: Iterable[Thing] = tqdm(
        things, total=total, unit="image", delay=_SECONDS_WITHOUT_BAR, leave=False, disable=None
    )
    return bar


def _page_name(name: str) -> str:
    """``annotations.json`` -> ``annotations.review.html``."""
    return f"{name.removesuffix('.json') or name}.review.html"
