"""Running the commands of annotation runs: progress while they work, a summary at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import click
from tqdm import tqdm

from perception.cli import weights_run
from perception.cli.run import NANO_NOTE, note_missing
from perception.defaults import AUTO, MAX_PARALLEL, MODEL, WORKERS
from perception.detectors.decode import SAME_CLASS_IOU, Labelling
from perception.imaging.read import printable
from perception.models import load as loading
from perception.models.model import Model
from perception.prompts.grammar import PromptText, parse
from perception.runs.annotate import (
    WITH_POLYGONS,
    Engine,
    Format,
    Shapes,
    Summary,
    Tell,
    annotate,
    export_annotations,
)
from perception.runs.missing_masks import Load, Watching, make_missing
from perception.runs.read import RunReader, find_run
from perception.runs.records import Counts, Failure, Record
from perception.runs.remote import is_url
from perception.runs.settings import StorageSettings
from perception.runtime.onnx_session import usable_cores

_MOST_REASONS = 10


class Progress:
    """A bar with images per second, time left, instances and failures so far."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: tqdm | None = None
        self._counts = Counts()
        self._done = self._instances = self._failures = 0

    def watch(self, counts: Counts) -> Tell:
        """Begins with how a run stands."""
        self._counts, self._done, self._failures = counts, counts.done, counts.failed
        total, before = counts.total, counts.done + counts.failed
        self._bar = tqdm(total=total, initial=before, unit="image", disable=self._quiet or None)
        return self._tell

    def _tell(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, Failure):
                self._failures += 1
            else:
                self._done += 1
                self._instances += record.reported
        if self._bar is not None:
            text = f"{self._instances:,} instances, {self._failures:,} failed"
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(len(records))

    def note(self, line: str) -> None:
        """Says something beside the bar."""
        if not self._quiet:
            tqdm.write(f"note: {line}", file=sys.stderr)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()

    @property
    def how_to_go_on(self) -> str:
        """What an interrupted run has to say."""
        kept = f"{self._done:,} of {self._counts.total:,} images are done and kept; "
        return f"{kept if self._counts.total else ''}the same command goes on"


def run_annotate(
    inputs: Sequence[str],
    text: PromptText,
    out: Path,
    *,
    images: str | None,
    model: str,
    device: str,
    precision: str,
    threads: int,
    parallel: int,
    engine: str,
    address: str | None,
    threshold: float,
    masks_from: float | None = None,
    drop_nested: bool,
    disjoint: bool,
    keeping: StorageSettings,
    batch: int,
    workers: int | None,
    overwrite: bool,
    retry_failed: bool,
    quiet: bool,
) -> int:
    """Annotates, with a progress bar and a summary; returns the exit status."""
    if model == MODEL and not quiet:
        click.echo(NANO_NOTE, err=True)
    note_missing([one for one in inputs if not is_url(one)], quiet=quiet)
    progress = Progress(quiet=quiet)
    chosen: Engine | None = None
    # Images side by side, each on few threads, get more done than one at a time on all of them.
    threads = threads or usable_cores()
    parallel = parallel or min(threads, MAX_PARALLEL)
    load = partial(loading.load, model, device=device, precision=precision)
    local = partial(load, threads=max(threads // parallel, 1))
    if engine == "ray":
        from perception.runs.ray_engine import RayEngine

        if device == AUTO:
            could_be_gpu, precision = loading.for_cluster(model, device, precision)
            gpus = None if could_be_gpu else 0
        else:
            gpus = 1 if device.startswith("cuda") else 0
        # An actor sees no other GPU than its own.
        named = "cuda" if gpus else device
        local = partial(load, device=named, precision=precision, threads=1)
        chosen = RayEngine(
            local, address=address, workers=workers, batch=batch, gpus=gpus, note=progress.note
        )
    try:
        summary = annotate(
            partial(_offered, local, model),
            inputs,
            text,
            out,
            images=images,
            threshold=threshold,
            masks_from=masks_from,
            drop_nested=drop_nested,
            disjoint=disjoint,
            keeping=keeping,
            batch=batch,
            workers=workers or WORKERS,
            parallel=parallel,
            engine=chosen,
            overwrite=overwrite,
            retry_failed=retry_failed,
            note=progress.note,
            watch=progress.watch,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(progress.how_to_go_on) from None
    finally:
        progress.close()
    classes = len(parse(text).classes)
    click.echo(
        f"wrote {printable(str(out))}: {_many(summary.pictures, 'image')}, "
        f"{_many(summary.annotations, 'annotation')} of {_many(classes, 'class', 'classes')}"
    )
    return _report_failures(summary)


def _offered(load: Callable[[], Model], name: str) -> Model:
    """The model, which is offered to be downloaded where that is possible."""
    weights_run.offer(name)
    return load()


def run_export(
    path: Path,
    out: Path,
    *,
    images: str | None,
    format_: str,
    threshold: float,
    nms: float | None,
    drop_nested: bool,
    disjoint: bool,
    shapes: Shapes,
    quiet: bool,
) -> int:
    """Writes what a run has found; returns the exit status."""
    if shapes.polygons and format_ not in WITH_POLYGONS:
        raise click.UsageError(f"--polygons is for {' and '.join(WITH_POLYGONS)}")
    if shapes.simplify is not None and not (shapes.polygons or format_ == "labelme"):
        raise click.UsageError("--simplify is for labelme, and for coco and yolo with --polygons")
    if shapes.copy_images and format_ != "yolo":
        raise click.UsageError("--copy-images is for yolo")
    labelling = Labelling(threshold, SAME_CLASS_IOU if nms is None else nms)
    make_masks_shown(find_run(path), labelling, images=images, quiet=quiet)
    with RunReader(find_run(path)) as run:
        count = export_annotations(
            run,
            out,
            as_format=cast(Format, format_),
            threshold=threshold,
            nms=SAME_CLASS_IOU if nms is None else nms,
            drop_nested=drop_nested,
            disjoint=disjoint,
            shapes=shapes,
        )
        counts, pictures = run.counts(), run.picture_count()
    click.echo(
        f"wrote {printable(str(out))}: {_many(pictures, 'image')}, {_many(count, 'instance')}"
    )
    if counts.waiting:
        click.echo(
            f"note: {_many(counts.waiting, 'image')} of this run still to be done: "
            "annotate goes on with them",
            err=True,
        )
    return 0


def make_masks_shown(
    path: Path,
    labelling: Labelling,
    *,
    images: str | None = None,
    load: Load | None = None,
    quiet: bool = False,
) -> None:
    """Makes the masks that a run hasn't and that these labels show, with a note and a bar.

    load: gives the model (default: the one that the run names, on the device that suits it).
    """
    progress = Progress(quiet=quiet)
    try:
        make_missing(
            path,
            labelling,
            load or _load_named,
            images=images,
            watching=Watching(progress.note, progress.watch),
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "the masks made so far are kept; the same command goes on"
        ) from None
    finally:
        progress.close()


def _load_named(name: str, precision: str, threads: int) -> Model:
    return loading.load(name, precision=precision, threads=threads)


def _report_failures(summary: Summary) -> int:
    if not summary.failures:
        return 0
    lines = [f"{_many(summary.counts.failed, 'image')} failed (--retry-failed tries again):"]
    for reason, count, first in summary.failures[:_MOST_REASONS]:
        more = f" and {count - 1:,} more" if count > 1 else ""
        lines.append(f"  {printable(first)}{more}: {reason}")
    left = len(summary.failures) - _MOST_REASONS
    if left > 0:
        lines.append(f"  and {_many(left, 'other reason')}")
    click.echo("\n".join(lines), err=True)
    return 1


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"
