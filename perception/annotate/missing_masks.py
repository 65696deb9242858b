"""Making the masks of a run that were left out, once results show them.

A run stores boxes from its floor up and makes masks for what its threshold shows. A lower
threshold, another NMS, a review or a measurement shows more. Their masks are made here, each image
as one transaction, without asking the detector again, and are those that the run would have made
at once: a box's mask never depends on other boxes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from perception.annotate.annotate import Tell
from perception.annotate.database import RunReader
from perception.annotate.lock import only_worker
from perception.annotate.records import Answer, Counts, Failure, MissingMasks
from perception.annotate.remote import is_url, join
from perception.annotate.runner import answering
from perception.annotate.settings import differences
from perception.annotate.work import Question
from perception.annotate.writer import RunWriter
from perception.defaults import BATCH, MOST_PARALLEL, WORKERS
from perception.detector.decode import Labelling
from perception.errors import PerceptionError, RunError
from perception.images import printable
from perception.model import Model
from perception.onnx_session import usable_cores

_PARALLEL = min(usable_cores(), MOST_PARALLEL)

Load = Callable[[str, str, int], Model]
"""Gives a model by its name and precision, computing on so many threads."""


@dataclass(frozen=True)
class Watching:
    """Who hears of the work: note of a line worth knowing, watch as in ``annotate``."""

    note: Callable[[str], object] = lambda _: None
    watch: Callable[[Counts], Tell] = lambda _: lambda _: None


def make_missing(
    path: Path,
    labelling: Labelling,
    load: Load,
    *,
    images: Path | str | None = None,
    watching: Watching | None = None,
) -> int:
    """Make the masks that results with these labels show and a run hasn't; return how many.

    Args:
        path: of the run database.
        labelling: the threshold, the NMS and the kind of labels of the results.
        load: called with the name and the precision of the run's model, if any mask is missing.
        images: folder or URL where the images are now (default: where they were).
        watching: hears of the work.

    Raises:
        RunError: with the number of missing masks, where the images or the model are gone or
            others now, or another process works on the run. The run's results at other thresholds
            stay as they were; masks that were made until then are kept.
        OutputError: if the run can't be written.
    """
    watching = watching or Watching()
    with RunReader(path) as reader:
        missing = reader.missing_masks(labelling)
        if not missing:
            return 0
        with _explained(reader, missing):
            _place(reader, missing, images)
            stored = reader.settings["model"]
            name = "+".join(dict.fromkeys((stored["detector"], stored["segmenter"])))
            threads = max(usable_cores() // _PARALLEL, 1)
            model = load(name, stored.get("precision", "fp32"), threads)
        with _explained(reader, missing), only_worker(path), RunWriter(path) as run:
            make_masks(run, model, labelling, images=images, watching=watching)
    return missing.count


def make_masks(
    run: RunWriter,
    model: Model,
    labelling: Labelling,
    *,
    images: Path | str | None = None,
    watching: Watching | None = None,
) -> None:
    """Make what ``make_missing`` makes in a run that is open for writing; raises as that."""
    watching = watching or Watching()
    missing = run.ask_for_masks(labelling)
    if not missing:
        return
    with _explained(run, missing):
        place = _place(run, missing, images)
        _check_model(run, model)
        watching.note(f"making {missing}, which were left out so far")
        failures = _make(run, model, labelling, place, watching)
        run.masks_are_made()
        if failures:
            raise _failed(run, failures)


def _make(
    run: RunWriter,
    model: Model,
    labelling: Labelling,
    place: Path | str,
    watching: Watching,
) -> list[Failure]:
    """Make the masks of images below a folder or URL; returns which of them failed."""
    settings = run.settings
    question = Question(
        phrases=run.phrases,
        independent=False,
        floor=settings["floor"],
        floor_nms=settings["floor_nms"],
        threshold=labelling.threshold,
        max_pixels=settings["max_pixels"],
        tile=settings.get("tile", 0),
        masks=labelling,
        masks_only=True,
    )
    failures: list[Failure] = []
    tell = watching.watch(run.counts())
    with answering(model, question, batch=BATCH, workers=WORKERS, parallel=_PARALLEL) as answer:
        for records in answer(run.mask_tasks(place)):
            # A failure stays out of the run: it says nothing against what was found before.
            failures += [record for record in records if isinstance(record, Failure)]
            run.record([_as_it_was(run, one) for one in records if isinstance(one, Answer)])
            tell(records)
    return failures


def _as_it_was(run: RunReader, answer: Answer) -> Answer:
    """The file that was answered stays noted, also where the images are elsewhere now."""
    return replace(answer, file=run.picture(answer.picture).file)


def _failed(run: RunReader, failures: Sequence[Failure]) -> RunError:
    first = failures[0]
    more = f" (and {len(failures) - 1:,} more)" if len(failures) > 1 else ""
    return RunError(f"{printable(run.picture(first.picture).name)}{more}: {first.reason}")


@contextmanager
def _explained(run: RunReader, missing: MissingMasks) -> Iterator[None]:
    """Says how many masks are missing before what keeps them from being made."""
    try:
        yield
    except PerceptionError as error:
        raise RunError(
            f"{printable(run.path.name)}: {missing} are missing and can't be made: {error}; "
            f"or choose {missing.remedy}, which shows none of them"
        ) from None


def _check_model(run: RunReader, model: Model) -> None:
    info = model.info(text="")
    del info["text"]
    differs = differences(run.settings["model"], info)
    if differs:
        raise RunError(f"the model isn't the one that found their boxes ({'; '.join(differs)})")


def _place(run: RunReader, missing: MissingMasks, images: Path | str | None) -> Path | str:
    """The folder or URL where all images are: ``images``, else where they were.

    Raises RunError if some are in neither, before a model is loaded and hours are spent.
    """
    names = [run.picture(key).name for key in missing.of_picture]
    places = [place for place in (images, run.place) if place is not None]
    for place in places:
        if is_url(str(place)) or all(os.path.exists(join(place, name)) for name in names):
            return place
    gone = [name for name in names if not os.path.exists(join(places[0], name))]
    more = f" (and {len(gone) - 1:,} more)" if len(gone) > 1 else ""
    raise RunError(
        f"{printable(gone[0])}{more}: no such file in {printable(str(places[0]))}; --images says "
        "where they are"
    )
