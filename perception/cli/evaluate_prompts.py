"""``perception evaluate clicks``, ``boxes`` and ``everything``: what prompts give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perception.cli.evaluate_output import (
    give_out,
    keep_path,
    limit_option,
    output_options,
    watch_pictures,
)
from perception.cli.options import Command, Function, all_of, model_options, threads_option
from perception.defaults import NMS, POINTS_PER_SIDE

if TYPE_CHECKING:
    from perception.evaluate.objects import Things
    from perception.models.model import Model
    from perception.report.html import Watch
    from perception.report.measurement import Measurement

_GRABCUT = "grabcut"
_MOST_CLICKS = 20


@dataclass(frozen=True)
class _Asked:
    """What every command here takes."""

    truth: str | None
    images: str | None
    data: str | None
    model: str
    device: str
    precision: str
    threads: int
    json: str | None
    report: str | None
    quiet: bool
    limit: int | None = None

    def things(self) -> Things:
        """What is to be measured on, from a COCO file or a folder."""
        if (self.truth is None) == (self.data is None):
            raise click.UsageError("give either TRUTH.json with --images, or --data")
        if (self.truth is None) != (self.images is None):
            raise click.UsageError("--images is the folder of TRUTH.json's images: give both")
        from perception.evaluate.objects import read_coco_things, read_grabcut_things

        if self.truth is not None and self.images is not None:
            things = read_coco_things(Path(self.truth), Path(self.images))
        else:
            things = read_grabcut_things(Path(self.data or ""))
        return things if self.limit is None else things.limited(self.limit)

    def load(self) -> Model:
        """The model that answers."""
        from perception.cli import weights_run
        from perception.models import load as loading

        weights_run.offer(self.model)
        return loading.load(
            self.model, device=self.device, precision=self.precision, threads=self.threads
        )

    @property
    def keep(self) -> Path | None:
        """The file of answers."""
        return keep_path(json=self.json, report=self.report)

    @property
    def watch(self) -> Watch:
        """Shows how many images are done."""
        return watch_pictures(quiet=self.quiet)

    def give_out(self, measured: Measurement, things: Things) -> int:
        """Prints and writes the figures; returns the exit status."""
        give_out(
            measured, json=self.json, report=self.report, images=things.folder, quiet=self.quiet
        )
        return 0


def _shared(command: Function) -> Function:
    """What is measured, with which model, and where the figures go."""
    return all_of(
        click.argument("truth", required=False, metavar="[TRUTH.json]"),
        click.option("--images", metavar="DIR", help="Folder of the images of TRUTH.json."),
        click.option(
            "--data",
            metavar="DIR",
            help="In place of TRUTH.json: a folder as the GrabCut set has it, with images and "
            "masks (0 background, 128 unknown, 255 object).",
        ),
        model_options,
        threads_option,
        limit_option,
        output_options,
    )(command)


@click.command(cls=Command)
@_shared
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=_MOST_CLICKS,
    show_default=True,
    help="Clicks for one thing.",
)
def clicks(most: int, **shared: Any) -> int:
    """Click on things until their masks are right: mIoU by clicks, NoC@85, NoC@90.

    The first click is in a thing's middle, each next one in that of the largest error. What is
    answered is kept in FILE.kept beside --json or --report: the same command goes on.
    """
    asked = _Asked(**shared)
    things = asked.things()
    from perception.evaluate.click_result import measure_clicks

    measured = measure_clicks(asked.load(), things, most=most, keep=asked.keep, watch=asked.watch)
    return asked.give_out(measured, things)


@click.command(cls=Command)
@_shared
def boxes(**shared: Any) -> int:
    """Masks from boxes, tight and up to 10 % off on each side: mIoU.

    --model grabcut measures OpenCV's GrabCut, the one to beat. What is answered is kept in
    FILE.kept beside --json or --report: the same command goes on.
    """
    asked = _Asked(**shared)
    things = asked.things()
    from perception.evaluate.boxes import GrabCutBoxMasks, measure_boxes

    answerer = GrabCutBoxMasks() if asked.model == _GRABCUT else asked.load()
    measured = measure_boxes(answerer, things, keep=asked.keep, watch=asked.watch)
    return asked.give_out(measured, things)


@click.command(cls=Command)
@_shared
@click.option(
    "--points-per-side",
    type=click.IntRange(min=1),
    default=POINTS_PER_SIDE,
    show_default=True,
    help="Points along each side of the grid that is asked about.",
)
@click.option(
    "--quality",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Least quality that the model predicts for a proposal; 0 takes all, the best first.",
)
@click.option(
    "--stability",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Least stability of a proposal; 0 takes all.",
)
@click.option(
    "--nms",
    type=click.FloatRange(0, 1),
    default=NMS,
    show_default=True,
    help="Of proposals whose boxes overlap more than this (IoU), the best is kept.",
)
def everything(
    points_per_side: int, quality: float, stability: float, nms: float, **shared: Any
) -> int:
    """Proposals of segment-everything, whatever their class: AR@10, AR@100 and AR@1000.

    What is answered is kept in FILE.kept beside --json or --report: the same command goes on.
    """
    asked = _Asked(**shared)
    things = asked.things()
    from perception.evaluate.proposals import measure_proposals
    from perception.predictor.everything_settings import EverythingSettings

    settings = EverythingSettings(
        points_per_side=points_per_side, quality=quality, stability=stability, nms=nms
    )
    measured = measure_proposals(asked.load(), things, settings, keep=asked.keep, watch=asked.watch)
    return asked.give_out(measured, things)
