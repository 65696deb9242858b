"""Opening a run and a model for the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from perception.defaults import AUTO, THRESHOLD
from perception.detectors.decode import SAME_CLASS_IOU, Labelling
from perception.detectors.tiled import tiled
from perception.errors import ImageError, WeightsError
from perception.imaging.read import printable
from perception.models import load as loading
from perception.models.model import Model
from perception.prompts.grammar import normalize, parse
from perception.runs.annotate import LOST, check_out, working_on
from perception.runs.listing import list_inputs
from perception.runs.merging import merge_left_behind
from perception.runs.missing_masks import Watching, make_masks
from perception.runs.read import run_path
from perception.runs.records import FileStamp
from perception.runs.results import check_stored
from perception.runs.settings import StorageSettings, check_same, run_settings
from perception.runs.write import RunWriter
from perception.segmenters.protocol import Segmenter
from perception.segmenters.sam.onnx import OnnxSegmenter
from perception.types import Embedding, FloatArray


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
    """The run that writes ``out``, over the images of a folder; it is begun if it isn't there.

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
    keeping = StorageSettings()
    if stored:
        keeping = StorageSettings(
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
    known = {normalize(name) for name in run.classes}
    for name in parse(text).classes if text else ():
        if normalize(name) not in known:
            run.add_class(name)


_OTHER_MODEL = (
    "this run was begun with another model: what that one found stays, and this one answers clicks "
    "and words from now on"
)


def _files(folder: Path) -> list[tuple[str, FileStamp | None]]:
    """The images of a folder, of which there may be none yet."""
    try:
        _, files = list_inputs([str(folder)])
        return list(files)
    except ImageError:
        return []


@runtime_checkable
class ServedSegmenter(Segmenter, Protocol):
    """A segmenter whose embeddings can be kept as plain arrays.

    side: of its square input in pixels; embedding_shape: C, h, w; version: of its weights.
    """

    @property
    def side(self) -> int: ...

    @property
    def embedding_shape(self) -> tuple[int, int, int]: ...

    @property
    def version(self) -> str: ...

    def restore(self, features: FloatArray, image_hw: tuple[int, int]) -> Embedding:
        """The embedding of an image of (H, W) whose features C x h x w were kept."""
        ...


@dataclass(frozen=True)
class ServedModel:
    """A model, whose segmenter is ``segmenter``.

    preparer, decoder: the graphs for the page, None where there are none.
    """

    model: Model
    segmenter: ServedSegmenter
    preparer: Path | None = None
    decoder: Path | None = None

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution logits."""
        return 4 * self.segmenter.embedding_shape[1]


def load_served(
    name: str,
    *,
    segmenter: Path | None = None,
    device: str = AUTO,
    precision: str = AUTO,
    threads: int,
) -> ServedModel:
    """A model by name, as ``loading.load`` has it.

    Raises the errors of that, and WeightsError for a segmenter whose embeddings can't be kept.
    """
    model = loading.load(
        name, segmenter=segmenter, device=device, precision=precision, threads=threads
    )
    found = model.segmenter
    if isinstance(found, OnnxSegmenter):
        return ServedModel(model, found, *found.graphs)
    if isinstance(found, ServedSegmenter):
        return ServedModel(model, found)
    raise WeightsError(
        f"{found.name}: the click page can't keep what this segmenter makes of an image; use "
        "nano, a SAM by name, or a folder that perception export wrote (--segmenter)"
    )
