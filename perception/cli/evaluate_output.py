"""What the commands of ``perception evaluate`` share: where the figures go, and printing them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from perception.cli.options import Function, all_of

if TYPE_CHECKING:
    from perception.report.html import Watch
    from perception.report.measurement import Measurement

Thing = TypeVar("Thing")
_STDOUT = "-"
_SECONDS_WITHOUT_BAR = 2.0


def output_options(command: Function) -> Function:
    """``--json``, ``--report`` and ``--quiet``, as ``json``, ``report`` and ``quiet``."""
    return all_of(
        click.option(
            "--json",
            metavar="FILE|-",
            help="The figures as JSON; - prints them in place of tables.",
        ),
        click.option(
            "--report",
            metavar="FILE",
            help="One HTML page: figures, plots and the worst cases as images.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            help="No notes, no progress bar, and no tables where --json or --report has the "
            "figures.",
        ),
    )(command)


limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure on the first N images only, by file name.",
)


def give_out(
    measured: Measurement,
    *,
    json: str | None,
    report: str | None,
    images: str | Path | None,
    quiet: bool,
) -> None:
    """Prints the tables, or writes what was asked for; images: the folder of the images."""
    from perception.cli.tables import table_text
    from perception.imaging.read import printable
    from perception.report.measurement import measurement_json, write_measurement

    if json == _STDOUT:
        click.echo(measurement_json(measured))
    elif not (quiet and (json or report)):
        click.echo("\n\n".join(table_text(table) for table in measured.tables()))
    if json is not None and json != _STDOUT:
        write_measurement(measured, Path(json))
        if not quiet:
            click.echo(f"wrote {printable(json)}", err=True)
    if report is not None:
        from perception.evaluate.report import write_report

        write_report(measured, Path(report), images=None if images is None else Path(images))
        if not quiet:
            click.echo(f"wrote {printable(report)}", err=True)


def keep_path(*, json: str | None, report: str | None) -> Path | None:
    """The file of answers, beside what is written first; None where nothing is written."""
    from perception.evaluate.cache import SUFFIX

    out = report if json in (None, _STDOUT) else json
    return None if out is None else Path(f"{out}{SUFFIX}")


def watch_pictures(*, quiet: bool) -> Watch:
    """Shows how many images are done."""
    from perception.report.html import unwatched

    return unwatched if quiet else _bar


def _bar(things: Iterable[Thing], *, total: int) -> Iterable[Thing]:
    from tqdm import tqdm

    bar: Iterable[Thing] = tqdm(
        things, total=total, unit="image", delay=_SECONDS_WITHOUT_BAR, leave=False, disable=None
    )
    return bar
