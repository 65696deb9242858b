"""The commands of annotation runs: ``annotate`` and ``export-annotations``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perception.cli.options import (
    Command,
    disjoint_option,
    drop_nested_option,
    max_pixels_option,
    model_options,
    nms_option,
    threads_option,
    threshold_option,
    tile_option,
)
from perception.defaults import BATCH, FLOOR, FLOOR_NMS, MAX_PARALLEL, WORKERS

if TYPE_CHECKING:
    from perception.ops.windows import TileSize

_FORMATS = ("coco", "yolo", "labelme", "csv", "png")


@click.command(
    cls=Command,
    short_help="Annotate a folder into one COCO file; can be ended.",
    examples=[
        ('perception annotate photos --text "cat. dog" --out cats.json', "again: it goes on"),
        ("perception annotate photos --classes names.txt --out all.json", "a name a line"),
        ("perception annotate list.txt --text cat --model base --out cats.json", ""),
    ],
)
@click.argument("inputs", nargs=-1, required=True, metavar="FOLDER|URL|GLOB|LIST.txt|COCO.json...")
@click.option("--text", help='What to find, such as "cat. vehicle: car | truck, !mannequin".')
@click.option(
    "--classes",
    metavar="FILE",
    help="What to find, from a file: a name a line, or YAML (a list, classes with their phrases, "
    "or YOLO's names).",
)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    help="COCO file. FILE.run beside it holds all that was found: the same command again goes on "
    "where one was ended.",
)
@click.option(
    "--images",
    metavar="DIR",
    help="Where the paths in LIST.txt and COCO.json start from.  [default: the file's folder]",
)
@model_options
@threshold_option
@click.option(
    "--masks-from",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    help="Make masks for boxes that score so much; below it boxes alone are stored, and a lower "
    "threshold, a review or a measurement makes their masks later.  [default: --threshold]",
)
@tile_option
@drop_nested_option
@disjoint_option
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=BATCH,
    show_default=True,
    help="Pictures in one call of the model.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that read images; with --engine ray the actors that hold a model.  "
    f"[default: {WORKERS}; with --engine ray the cluster's cores]",
)
@threads_option
@click.option(
    "--parallel",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Calls of the model at once, which share the threads; more take more memory. 0: one for "
    f"each thread, at most {MAX_PARALLEL}.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="local: this machine; ray: a cluster, or this machine as one.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Ray cluster to join, or auto for the one that this machine is of.  "
    "[default: RAY_ADDRESS, else a new one on this machine]",
)
@max_pixels_option
@click.option(
    "--floor",
    type=click.FloatRange(0, 1, min_open=True),
    default=FLOOR,
    show_default=True,
    help="Least score that is stored: thresholds can later be chosen from here up.",
)
@click.option(
    "--floor-nms",
    type=click.FloatRange(0, 1),
    default=FLOOR_NMS,
    show_default=True,
    help="Largest overlap (IoU) of boxes of one class that are both stored.",
)
@click.option("--overwrite", is_flag=True, help="Begin anew: forget an earlier run to --out.")
@click.option("--retry-failed", is_flag=True, help="Try images again that failed before.")
@click.option("-q", "--quiet", is_flag=True, help="No notes and no progress bar.")
def annotate(
    inputs: Sequence[str],
    text: str | None,
    classes: str | None,
    out: str,
    images: str | None,
    model: str,
    device: str,
    precision: str,
    threshold: float,
    masks_from: float | None,
    tile: TileSize,
    drop_nested: bool,
    disjoint: bool,
    batch: int,
    workers: int | None,
    threads: int,
    parallel: int,
    engine: str,
    address: str | None,
    max_pixels: int,
    floor: float,
    floor_nms: float,
    overwrite: bool,
    retry_failed: bool,
    quiet: bool,
) -> int:
    """Annotate images into one COCO file; goes on where an earlier run was ended."""
    if (text is None) == (classes is None):
        raise click.UsageError("give either --text or --classes")
    if engine == "ray" and (threads or parallel):
        raise click.UsageError("--threads and --parallel are for --engine local; ray has --workers")
    if engine == "local" and address is not None:
        raise click.UsageError("--address is for --engine ray")
    from perception.cli.annotate_run import run_annotate
    from perception.prompts.class_list import read_classes
    from perception.runs.settings import StorageSettings

    return run_annotate(
        inputs,
        read_classes(Path(classes)) if classes is not None else text or "",
        Path(out),
        images=images,
        model=model,
        device=device,
        precision=precision,
        threads=threads,
        parallel=parallel,
        engine=engine,
        address=address,
        threshold=threshold,
        masks_from=masks_from,
        drop_nested=drop_nested,
        disjoint=disjoint,
        keeping=StorageSettings(floor=floor, floor_nms=floor_nms, tile=tile, max_pixels=max_pixels),
        batch=batch,
        workers=workers,
        overwrite=overwrite,
        retry_failed=retry_failed,
        quiet=quiet,
    )


@click.command(
    cls=Command,
    short_help="Write a run as COCO, YOLO, labelme, CSV or PNG.",
    examples=[
        ("perception export-annotations cats.json --format yolo --out yolo", ""),
        ("perception export-annotations cats.json --threshold 0.5 --out sure.json", ""),
    ],
)
@click.argument("run", metavar="RUN")
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    default="coco",
    show_default=True,
    help="yolo, labelme and png write into a folder, coco and csv one file.",
)
@click.option("--out", required=True, metavar="FILE|DIR", help="What to write.")
@click.option(
    "--images",
    metavar="DIR|URL",
    help="Where the images are now, if masks have to be made.  [default: where they were]",
)
@threshold_option
@nms_option
@drop_nested_option
@disjoint_option
@click.option(
    "--polygons",
    is_flag=True,
    help="Outlines: in coco in place of run lengths, in yolo of boxes.",
)
@click.option(
    "--simplify",
    type=click.FloatRange(min=0),
    metavar="PX",
    help="Outlines with few corners, which a hand can edit: at most so many pixels from the middle "
    "of the pixels' steps; less where they would lose more than 5 % of the mask (IoU).  "
    "[default: 0.5 for yolo and labelme, 0, all corners, for coco]",
)
@click.option(
    "--copy-images",
    is_flag=True,
    help="In yolo's images/ copies in place of links, to take it to another machine.",
)
@click.option("-q", "--quiet", is_flag=True, help="No notes and no progress bar.")
def export_annotations(
    run: str,
    format_: str,
    out: str,
    images: str | None,
    threshold: float,
    nms: float | None,
    drop_nested: bool,
    disjoint: bool,
    polygons: bool,
    simplify: float | None,
    copy_images: bool,
    quiet: bool,
) -> int:
    """Write what an annotation run has found, at any threshold.

    No model runs, unless a lower threshold or another NMS shows boxes whose masks weren't made:
    then these are made first. RUN: what annotate was told to write, or the .run file beside it.
    """
    from perception.cli.annotate_run import run_export
    from perception.runs.annotate import Shapes

    return run_export(
        Path(run),
        Path(out),
        images=images,
        format_=format_,
        threshold=threshold,
        nms=nms,
        drop_nested=drop_nested,
        disjoint=disjoint,
        shapes=Shapes(polygons, simplify, copy_images),
        quiet=quiet,
    )
