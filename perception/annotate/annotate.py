"""One annotation run: list the pictures, answer those that wait, write the COCO file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from perception.annotate.database import RunReader, run_path
from perception.annotate.listing import list_inputs
from perception.annotate.lock import only_worker
from perception.annotate.merging import merge_left_behind, remove_shards
from perception.annotate.records import Counts, Record
from perception.annotate.results import check_stored, results, run_info
from perception.annotate.runner import work_through
from perception.annotate.settings import Keeping, check_same, run_settings
from perception.annotate.work import Question
from perception.annotate.writer import RunWriter
from perception.defaults import BATCH, THRESHOLD, WORKERS
from perception.detector.decode import SAME_CLASS_IOU, Labelling
from perception.detector.tiled import tile_side, tiled
from perception.errors import OutputError, PromptError
from perception.formats.atomic import check_writable
from perception.formats.coco import stream_coco
from perception.images import printable
from perception.model import Model
from perception.phrases import Phrases, PromptText, parse

Tell = Callable[[Sequence[Record]], object]
"""Called with the records of some pictures once they are stored."""

LOST = "the end of the run's log is damaged, as after a power cut: what was stored last is lost"

Engine = Callable[[RunWriter, Model, Question, Tell], None]
"""Answers all pictures of a run that wait, stores the answers, and tells of them."""


@dataclass(frozen=True)
class Summary:
    """What a run has come to.

    counts: of its pictures; pictures, annotations: in the COCO file; failures: each reason, how
    many pictures failed with it and the first of them.
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
    keeping: Keeping | None = None,
    batch: int = BATCH,
    workers: int = WORKERS,
    parallel: int = 1,
    engine: Engine | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    note: Callable[[str], object] = lambda _: None,
    watch: Callable[[Counts], Tell] = lambda _: lambda _: None,
) -> Summary:
    """Annotates pictures into one COCO file; the same call again goes on where one was ended.

    load: gives the model, once the rest is known to be in order; inputs, images: as
    ``list_inputs`` has them; text: what to find; out: the COCO file, beside which the run is
    stored; threshold: the least score in the file; masks_from: the threshold down to which masks
    are made (default: ``threshold``), below it boxes alone are stored until their masks are needed
    (``missing_masks``); drop_nested, disjoint: of the masks in the file, as in ``settling.settle``;
    keeping: what the run stores; batch: pictures in one call of the model;
    workers: processes that read; parallel: threads that call the model, each with a batch in
    memory; engine: what works in place of these processes and threads, such as ``RayEngine``;
    overwrite: begin anew; retry_failed: also pictures that failed before.
    note: called with a line worth knowing; watch: called with how the run stands before the work,
    gives what is called with every few records.

    Raises PromptError, ImageError and CocoError for what is asked, RunError for a run that can't be
    gone on with, OutputError if it can't be written, and the errors of ``load``.
    """
    keeping, phrases, path = keeping or Keeping(), parse(text), run_path(out)
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
            "together: all pictures run again"
        )
    elif new:
        note(f"{new} more to find than before: pictures that are done are asked only for that")
