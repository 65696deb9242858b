"""Opening the run that a service works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perception.annotate.annotate import LOST, check_out, working_on
from perception.annotate.database import run_path
from perception.annotate.listing import list_inputs
from perception.annotate.merging import merge_left_behind
from perception.annotate.missing_masks import Watching, make_masks
from perception.annotate.records import FileStamp
from perception.annotate.results import check_stored
from perception.annotate.settings import Keeping, check_same, run_settings
from perception.annotate.writer import RunWriter
from perception.defaults import THRESHOLD
from perception.detector.decode import SAME_CLASS_IOU, Labelling
from perception.detector.tiled import tiled
from perception.errors import ImageError
from perception.images import printable
from perception.model import Model
from perception.phrases import normalise, parse


@contextmanager
def open_run(
    folder: Path,
    out: Path,
    model: Model,
    *,
    text: str = "",
    threshold: float = THRESHOLD,
    overwrite: bool = False,
    note: Callable[[str], object] = lambda _: None,
) -> Iterator[RunWriter]:
    """The run that writes ``out``, over the pictures of a folder; it is begun if it isn't there.

    text: the prompt of a new run; of one that is there, its classes are added to what was asked.
    note: called with a line worth knowing. Masks that the threshold shows and that weren't made yet
    are made first. A run that was begun with another model can be gone on
    with by hand; the file then names both. While this lasts nobody else can work on the run. Raises
    ImageError without the folder, RunError for a run that is at work or is of another folder, or
    whose masks can't be made, OutputError if it can't be written, PromptError for the text or the
    threshold.
    """
    if not folder.is_dir():
        raise ImageError(f"{printable(str(folder))}: no such folder; check the path")
    if text:
        parse(text)
    path = run_path(out)
    check_out(out, path, overwrite=overwrite)
    with working_on(path, out, overwrite=overwrite) as run:
        if run.has_lost:
            note(LOST)
        _begin(run, folder, model, text, note)
        floor, floor_nms = run.settings["floor"], run.settings["floor_nms"]
        check_stored(floor, floor_nms, threshold=threshold, nms=SAME_CLASS_IOU)
        make_masks(run, model, Labelling(threshold), watching=Watching(note))
        yield run


def _begin(
    run: RunWriter, folder: Path, model: Model, text: str, note: Callable[[str], object]
) -> None:
    stored = run.settings
    keeping = Keeping()
    if stored:
        keeping = Keeping(
            floor=stored["floor"],
            floor_nms=stored["floor_nms"],
            tile=stored.get("tile"),
            max_pixels=stored["max_pixels"],
        )
    settings = run_settings(model, keeping, pictures=folder.absolute(), run=run.path)
    # In tiles a phrase's boxes depend on all phrases that were asked with it.
    independent: bool | None = tiled(model.detector, keeping.tile).phrases_independent
    if stored:
        # Marks don't depend on a model: they can be worked on with any.
        check_same({**stored, "model": ""}, {**settings, "model": ""}, run.path)
        merge_left_behind(run)
        if settings["model"] != stored["model"]:
            run.note_model(settings["model"])
            note(_OTHER_MODEL)
            independent = None  # This model doesn't know what the run's needs.
    run.begin(settings, run.text or text, _files(folder), independent=independent)
    known = {normalise(name) for name in run.classes}
    for name in parse(text).classes if text else ():
        if normalise(name) not in known:
            run.add_class(name)


_OTHER_MODEL = (
    "this run was begun with another model: what that one found stays, and this one answers clicks "
    "and words from now on"
)


def _files(folder: Path) -> list[tuple[str, FileStamp | None]]:
    """The pictures of a folder, of which there may be none yet."""
    try:
        _, files = list_inputs([str(folder)])
        return list(files)
    except ImageError:
        return []
