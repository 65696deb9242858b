"""Writing a run in another format, or at other thresholds, without running a model."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Literal, get_args

from perception.annotate.annotate import write_annotations
from perception.annotate.database import RunReader
from perception.annotate.results import check_masks, results
from perception.defaults import THRESHOLD
from perception.detector.decode import SAME_CLASS_IOU, Labelling
from perception.errors import OutputError
from perception.formats.class_maps import write_class_maps
from perception.formats.labelme import write_labelme
from perception.formats.table import write_csv
from perception.formats.yolo import write_yolo
from perception.images import printable

Format = Literal["coco", "yolo", "labelme", "csv", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)
ONE_FILE: tuple[Format, ...] = ("coco", "csv")
WITH_POLYGONS: tuple[Format, ...] = ("coco", "yolo")
"""Formats that have a choice of polygons."""


def export_annotations(
    run: RunReader,
    out: Path,
    *,
    as_format: Format,
    threshold: float = THRESHOLD,
    nms: float = SAME_CLASS_IOU,
    drop_nested: bool = False,
    disjoint: bool = False,
    polygons: bool = False,
) -> int:
    """Writes what a run has found so far; returns how many instances that is.

    out: a file for COCO and CSV, a folder for the others; threshold, nms, drop_nested, disjoint: as
    ``results`` has them; polygons: outlines in place of run lengths (COCO) or of boxes (YOLO).
    Raises PromptError for less than is stored, OutputError if it can't be written.
    """
    if as_format in ONE_FILE and out.is_dir():
        raise OutputError(f"{printable(str(out))}: a folder; name a file for --out")
    if as_format == "coco":
        return write_annotations(
            run,
            out,
            threshold=threshold,
            nms=nms,
            drop_nested=drop_nested,
            disjoint=disjoint,
            polygons=polygons,
        )
    found = results(run, threshold=threshold, nms=nms, drop_nested=drop_nested, disjoint=disjoint)
    with run.snapshot(), closing(found):
        check_masks(run, Labelling(threshold, nms))  # Before the first file of a folder.
        classes = run.classes
        if as_format == "yolo":
            return write_yolo(found, out, classes=classes, polygons=polygons)
        if as_format == "labelme":
            return write_labelme(found, out, images=run.folder)
        if as_format == "csv":
            return write_csv(found, out)
        return write_class_maps(found, out, classes=classes)
