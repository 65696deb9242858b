"""One annotation run: list the images, infer, write; and exporting it in other formats."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal, get_args

from perception.coco.write import stream_coco
from perception.defaults import BATCH, THRESHOLD, WORKERS
from perception.detectors.decode import SAME_CLASS_IOU, Labelling
from perception.detectors.tiled import tile_side, tiled
from perception.errors import OutputError, PromptError
from perception.formats.csv import write_csv
from perception.formats.labelme import write_labelme
from perception.formats.outlines import SIMPLIFY
from perception.formats.png import write_class_maps
from perception.formats.yolo import write_yolo
from perception.imaging.read import printable
from perception.models.model import Model
from perception.prompts.grammar import Phrases, PromptText, parse
from perception.runs.listing import list_inputs
from perception.runs.local_engine import work_through
from perception.runs.merging import merge_left_behind, remove_shards
from perception.runs.read import RunReader, run_path
from perception.runs.records import Counts, Record
from perception.runs.results import check_masks, check_stored, results, run_info
from perception.runs.settings import StorageSettings, check_same, only_worker, run_settings
from perception.runs.worker import Question
from perception.runs.write import RunWriter
from perception.runtime.files import check_writable, remove_parts

Tell = Callable[[Sequence[Record]], object]
"""Called with the records of some images once they are stored."""

LOST = "the end of the run's log is damaged, as after a power cut: what was stored last is lost"

Engine = Callable[[RunWriter, Model, Question, Tell], None]
"""Answers all images of a run that wait, stores the answers, and tells of them."""


@dataclass(frozen=True)
class Summary:
    """What a run has come to.

    counts: of its images; images, annotations: in the COCO file; failures: each reason, how
    many images failed with it and the first of them.
    """

    counts: Counts
    pictures: int
    annotations: int
    failures: tuple[tuple[str, int, str], ...]


def annotate(
    load: Callable[[], Model],
    inputs: Sequence[str],
    text: PromptText,
    out: Path,
    *,
    images: str | None = None,
    threshold: float = THRESHOLD,
    masks_from: float | None = None,
    drop_nested: bool = False,
    disjoint: bool = False,
    keeping: StorageSettings | None = None,
    batch: int = BATCH,
    workers: int = WORKERS,
    parallel: int = 1,
    engine: Engine | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    note: Callable[[str], object] = lambda _: None,
    watch: Callable[[Counts], Tell] = lambda _: lambda _: None,
) -> Summary:
    """Annotates images into one COCO file; the same call again goes on where one was ended.

    load: gives the model, once the rest is known to be in order; inputs, images: as
    ``list_inputs`` has them; text: what to find; out: the COCO file, beside which the run is
    stored; threshold: the least score in the file; masks_from: the threshold down to which masks
    are made (default: ``threshold``), below it boxes alone are stored until their masks are needed
    (``missing_masks``); drop_nested, disjoint: of the masks in the file, as in
    ``postprocess_masks``; keeping: what the run stores; batch: images in one call of the model;
    workers: processes that read; parallel: threads that call the model, each with a batch in
    memory; engine: what works in place of these processes and threads, such as ``RayEngine``;
    overwrite: begin anew; retry_failed: also images that failed before.
    note: called with a line worth knowing; watch: called with how the run stands before the work,
    gives what is called with every few records.

    Raises PromptError, ImageError and CocoError for what is asked, RunError for a run that can't be
    gone on with, OutputError if it can't be written, and the errors of ``load``.
    """
    keeping, phrases, path = keeping or StorageSettings(), parse(text), run_path(out)
    check_stored(keeping.floor, keeping.floor_nms, threshold=threshold, nms=SAME_CLASS_IOU)
    masks = Labelling(threshold if masks_from is None else masks_from)
    if not keeping.floor <= masks.threshold <= threshold:
        raise PromptError(
            f"masks from {masks.threshold:g}: choose a score from the floor, {keeping.floor:g}, to "
            f"the threshold, {threshold:g}: what is written needs its masks"
        )
    check_out(out, path, overwrite=overwrite)
    with working_on(path, out, overwrite=overwrite) as run:
        if run.has_lost:
            note(LOST)
        folder, files = list_inputs(inputs, images=images)
        first = list(islice(files, 1))  # That there is none is said before the model loads.
        model = load()
        tile = tile_side(model.detector, keeping.tile)
        independent = tiled(model.detector, tile or None).phrases_independent
        settings = run_settings(model, keeping, pictures=folder, run=path)
        if run.settings:
            check_same(run.settings, settings, path)
            merge_left_behind(run)
            _tell_of_new_phrases(run.phrases, phrases, independent, note)
        run.begin(
            settings,
            text,
            chain(first, files),
            independent=independent,
            retry_failed=retry_failed,
        )
        run.ask_for_masks(masks)
        question = Question(
            phrases=phrases,
            independent=independent,
            floor=keeping.floor,
            floor_nms=keeping.floor_nms,
            threshold=threshold,
            max_pixels=keeping.max_pixels,
            tile=tile,
            masks=masks,
        )
        tell = watch(run.counts())
        if engine is not None:
            engine(run, model, question, tell)
        else:
            work_through(
                run,
                model,
                question,
                batch=batch,
                workers=workers,
                parallel=parallel,
                tell=tell,
            )
        run.masks_are_made()
        annotations = write_annotations(
            run, out, threshold=threshold, drop_nested=drop_nested, disjoint=disjoint
        )
        return Summary(run.counts(), run.picture_count(), annotations, tuple(run.failure_reasons()))


def write_annotations(
    run: RunReader,
    out: Path,
    *,
    threshold: float = THRESHOLD,
    nms: float = SAME_CLASS_IOU,
    drop_nested: bool = False,
    disjoint: bool = False,
    polygons: bool = False,
    simplify: float = 0.0,
) -> int:
    """Writes a run's COCO file and returns how many annotations it has; see ``results``."""
    found = results(run, threshold=threshold, nms=nms, drop_nested=drop_nested, disjoint=disjoint)
    with run.snapshot(), closing(found):
        return stream_coco(
            found,
            out,
            classes=run.classes,
            info=run_info(
                run, threshold=threshold, nms=nms, drop_nested=drop_nested, disjoint=disjoint
            ),
            polygons=polygons,
            simplify=simplify,
        )


def check_out(out: Path, path: Path, *, overwrite: bool) -> None:
    """Raises OutputError where a run can't write, or would write over what isn't its own."""
    name = printable(str(out))
    check_writable(out.parent)
    if out.is_dir():
        raise OutputError(f"{name}: a folder; name a file for --out")
    if out.exists() and not overwrite:
        if not path.exists():
            raise _of_no_run(out, path, "isn't there")
        if not path.stat().st_size:
            raise _of_no_run(out, path, "is empty")


def _of_no_run(out: Path, path: Path, state: str) -> OutputError:
    return OutputError(
        f"{printable(str(out))}: is there, and is of no run ({printable(path.name)} {state}); "
        "choose another --out, or write over it with --overwrite"
    )


@contextmanager
def working_on(path: Path, out: Path, *, overwrite: bool) -> Iterator[RunWriter]:
    """The run in a database, begun if it isn't there; while this lasts nobody else works on it.

    out: what it writes; overwrite: forget what is there. Raises RunError for a run that is at work
    or damaged, OutputError if it can't be written, or where ``out`` is of another run.
    """
    with only_worker(path):
        if overwrite:
            _remove_run(path)
            remove_shards(path)
        with RunWriter(path) as run:
            if out.exists() and not (run.settings or overwrite):
                raise _of_no_run(out, path, "was never begun")
            yield run


def _remove_run(path: Path) -> None:
    """Removes a run's database; OutputError if that can't be done."""
    try:
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"{printable(str(path))}: can't be removed ({why})") from None


def _tell_of_new_phrases(
    before: Phrases, now: Phrases, independent: bool, note: Callable[[str], object]
) -> None:
    new = len(set(now.phrases) - set(before.phrases))
    if not before.phrases:
        return  # Only hands have worked on it so far.
    if not independent and before.phrases != now.phrases:
        note(
            "other classes than before, and this model's answers depend on all that are asked "
            "together: all images run again"
        )
    elif new:
        note(f"{new} more to find than before: images that are done are asked only for that")


Format = Literal["coco", "yolo", "labelme", "csv", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)
ONE_FILE: tuple[Format, ...] = ("coco", "csv")
WITH_POLYGONS: tuple[Format, ...] = ("coco", "yolo")
"""Formats that have a choice of polygons."""


@dataclass(frozen=True)
class Shapes:
    """How instances are written, in the formats that have a choice.

    polygons: outlines in place of run lengths (COCO) or of boxes (YOLO); simplify: how far outlines
    may be from the pixels' steps, in pixels, for fewer corners (None: 0.5 in YOLO and labelme, 0 in
    COCO); copy_images: whether YOLO's ``images/`` gets copies in place of links.
    """

    polygons: bool = False
    simplify: float | None = None
    copy_images: bool = False

    def tolerance(self, usual: float) -> float:
        """What to simplify by, where ``usual`` is the format's own."""
        return usual if self.simplify is None else self.simplify


def export_annotations(
    run: RunReader,
    out: Path,
    *,
    as_format: Format,
    threshold: float = THRESHOLD,
    nms: float = SAME_CLASS_IOU,
    drop_nested: bool = False,
    disjoint: bool = False,
    shapes: Shapes | None = None,
) -> int:
    """Writes what a run has found so far; returns how many instances that is.

    out: a file for COCO and CSV, a folder for the others; threshold, nms, drop_nested, disjoint: as
    ``results`` has them; shapes: how the instances are written. Raises PromptError for less than is
    stored, OutputError if it can't be written.
    """
    if as_format in ONE_FILE and out.is_dir():
        raise OutputError(f"{printable(str(out))}: a folder; name a file for --out")
    shapes = shapes or Shapes()
    remove_parts(out)
    if as_format == "coco":
        return write_annotations(
            run,
            out,
            threshold=threshold,
            nms=nms,
            drop_nested=drop_nested,
            disjoint=disjoint,
            polygons=shapes.polygons,
            simplify=shapes.tolerance(0.0),
        )
    found = results(run, threshold=threshold, nms=nms, drop_nested=drop_nested, disjoint=disjoint)
    with run.snapshot(), closing(found):
        check_masks(run, Labelling(threshold, nms))  # Before the first file of a folder.
        classes = run.classes
        if as_format == "yolo":
            place = run.place
            if isinstance(place, str):
                warnings.warn(
                    f"the images are at {printable(place)}: put them into "
                    f"{printable(str(out / 'images'))}",
                    RuntimeWarning,
                    stacklevel=1,
                )
            return write_yolo(
                found,
                out,
                classes=classes,
                polygons=shapes.polygons,
                simplify=shapes.tolerance(SIMPLIFY),
                images=place if isinstance(place, Path) else None,
                copy=shapes.copy_images,
            )
        if as_format == "labelme":
            tolerance = shapes.tolerance(SIMPLIFY)
            return write_labelme(found, out, images=run.folder, simplify=tolerance)
        if as_format == "csv":
            return write_csv(found, out)
        return write_class_maps(found, out, classes=classes)
