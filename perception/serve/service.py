"""What the page asks for: the run's images, their embeddings and marks, and answers to prompts.

Everything here may be called by any number of threads. The run is written by one at a time; a
prompt waits for no image but its own to be encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock, RLock
from typing import Any
from uuid import uuid4

import numpy as np

from perception.errors import ImageError
from perception.imaging.preprocess import Frame
from perception.imaging.read import printable
from perception.models.explain import explain, explanation_lines
from perception.ops.windows import Tile
from perception.pipeline import find_masks
from perception.predictor.predictions import PredictedMask
from perception.predictor.protocol import EncodedImage
from perception.predictor.refine import color_bins, shown_cells
from perception.prompts.grammar import normalize, parse
from perception.runs.annotate import write_annotations
from perception.runs.read import RunReader
from perception.runs.records import ListedPicture, Mark, MarkedContent, instances_to_marks
from perception.runs.write import RunWriter
from perception.serve.encoder import EmbeddingCache, Encoder, HalfArray
from perception.serve.images import QUICK_PIXELS, OpenPicture, OpenPictures
from perception.serve.opening import ServedModel
from perception.serve.run_results import RunResults
from perception.serve.schemas import ClickBody, check_printable, checked_name, known_name, new_name
from perception.types import Embedding, ImageArray, IntArray


class NoSuchPictureError(ImageError):
    """A name that is none of the run's images."""


@dataclass(frozen=True)
class PictureState:
    """An image as it is opened. failed: why it can't be worked on, or None."""

    name: str
    image_hw: tuple[int, int]
    uid: str
    revision: int
    marks: tuple[Mark, ...]
    failed: str | None = None


@dataclass(frozen=True)
class TextAnswer:
    """What a text names in an image.

    marks: new ones; absent: classes that weren't found; why: that, in lines of text.
    """

    marks: tuple[Mark, ...]
    absent: tuple[str, ...]
    why: tuple[str, ...]


class Service:
    """A run, the model that answers, and the images.

    out: the COCO file; threshold: the least score of what the model found in the run. Raises
    RunError if the process that reads images doesn't start.
    """

    def __init__(
        self,
        run: RunWriter,
        served: ServedModel,
        out: Path,
        *,
        cache: EmbeddingCache,
        threshold: float,
    ) -> None:
        self.run, self.served, self.out, self.threshold = run, served, out, threshold
        self.pictures = OpenPictures(run.folder, max_pixels=run.settings["max_pixels"])
        self.encoder = Encoder(served, cache)
        self._writing, self._saving, self._decoding = RLock(), Lock(), Lock()
        self._texts = ThreadPoolExecutor(1, "perception-text")
        # So many at once, whoever asks: the rest wait without a thread or a copy of an image.
        self.prompts = ThreadPoolExecutor(4, "perception-prompt")
        self._pixels = ThreadPoolExecutor(2, "perception-pixels")
        self._large = ThreadPoolExecutor(1, "perception-large")
        self.uploads = ThreadPoolExecutor(1, "perception-upload")
        self.results = RunResults(run.path, threshold=threshold)
        self.changed = False
        """Whether anything was stored that the COCO file may lack."""

    def close(self) -> None:
        """Ends threads and processes; the run is left to whoever opened it."""
        threads = (self._texts, self.prompts, self._pixels, self._large, self.uploads)
        for one in threads:
            one.shutdown(wait=False, cancel_futures=True)
        self.pictures.close()
        self.encoder.close()
        for one in threads:
            one.shutdown()
        self.results.close()

    @property
    def classes(self) -> tuple[str, ...]:
        """The run's classes."""
        with self._writing:
            return self.run.classes

    def listing(
        self, *, after: str = "", limit: int, offset: int = 0, contains: str = ""
    ) -> tuple[list[tuple[ListedPicture, int | None]], int]:
        """Pictures of the run in order of name, and how many there are.

        after, offset, contains: which, see ``RunReader.listed``. With each, how many marks are
        shown on it: None where that result was never needed, see ``RunResults.counts``.
        """
        with self._writing:
            total = self.run.listed_count(contains=contains)
            listed = list(
                self.run.listed(after=after, limit=limit, offset=offset, contains=contains)
            )
        rows = [(one, self._count(one)) for one in listed if _is_text(one.name)]
        return rows, total  # Those whose names aren't text couldn't be asked for.

    def _count(self, picture: ListedPicture) -> int | None:
        if picture.revision or picture.state != "done":
            return picture.marks
        return self.results.known_count(picture.name)

    def place(self, name: str, contains: str = "") -> int | None:
        """Where an image is in ``listing``, from 0; None if it isn't among these."""
        self.find(name)
        with self._writing:
            before = self.run.listed_count(contains=contains, before=name)
            up_to = self.run.listed_count(contains=contains, before=f"{name}\0")
        return before if up_to > before else None

    def find(self, name: str) -> ListedPicture:
        """An image of the run; NoSuchPictureError for any other name."""
        with self._writing:
            found = self.run.find(name) if _is_text(name) else None
        if found is None:
            raise NoSuchPictureError(f"{printable(name)}: no such image in this folder")
        return found

    def content(self, name: str) -> MarkedContent:
        """What an image of the run is; ImageError if it can't be read."""
        return self.pictures.content(self.find(name).name)

    def open(self, name: str, *, with_marks: bool = True) -> PictureState:
        """An image's state and marks; one that can't be read says why."""
        listed = self.find(name)
        try:
            content = self.pictures.content(name)
        except ImageError as error:
            reason = str(error).removeprefix(f"{printable(name)}: ")
            return PictureState(name, (0, 0), "", listed.revision, (), reason)
        with self._writing:
            stored = self.run.stored(name)
            if stored is None or not (stored.revision or stored.uid == content.uid):
                return PictureState(name, content.image_hw, content.uid, 0, ())
            if stored.image_hw != content.image_hw:
                (height, width) = stored.image_hw
                reason = (
                    f"it was marked when it had {width} x {height} pixels; put that file back, "
                    "its marks are kept"
                )
                return PictureState(
                    name, content.image_hw, content.uid, stored.revision, (), reason
                )
            marks = self.run.marks(stored.picture) if stored.revision and with_marks else ()
        if with_marks and not stored.revision:  # Made beside the writer: it takes a while.
            marks = self.results.marks(name)
        return PictureState(name, content.image_hw, content.uid, stored.revision, marks)

    def features(
        self, name: str, *, window: Tile | None = None, ahead: bool = False
    ) -> Future[HalfArray]:
        """Return the embedding C x h x w of an image, or of a crop of it, when it is there."""
        content = self.content(name)
        image = partial(self._image, name)
        return self.encoder.features(content, image, window=window, ahead=ahead)

    def _image(self, name: str) -> Any:
        return self.pictures.get(name).image

    def pixel_threads(self, image: ImageArray) -> ThreadPoolExecutor:
        """Where all of an image's pixels are worked on: large ones wait for each other."""
        return self._large if image.size > 3 * QUICK_PIXELS else self._pixels

    def cells(
        self, name: str, window: Tile | None = None
    ) -> tuple[ImageArray, IntArray, tuple[int, int]]:
        """Return what the cells of masks show of an image, or of a crop of it.

        Returns:
            The image at the size of the cells, r x c x 3; its color bins, r x c; and the row and
            the column of the first of these cells among all.
        """
        image, size = self._image(name), self.served.mask_size
        window = window or Tile(0, 0, image.shape[1], image.shape[0])
        frame = Frame((window.y1 - window.y0, window.x1 - window.x0), self.served.segmenter.side)
        shown, (rows, columns) = shown_cells(image, window, frame, (size, size))
        bins = color_bins(shown) if shown.size else np.zeros((0, 0), np.int64)
        return shown, bins, (rows.start, columns.start)

    def click(self, name: str, body: ClickBody) -> tuple[PredictedMask, ...]:
        """Return the candidate masks of one prompt, the one to show first.

        Waits for the embeddings of the image and of its crops.
        """
        encoded = self._encoded(name)
        image_hw = encoded.image.shape[0], encoded.image.shape[1]
        prompt = body.prompt()
        previous = body.previous_mask(image_hw, self.served)
        with self._decoding:  # Side by side they would share the cores, and all be late.
            candidates = encoded.predict(prompt, previous)
            for one in candidates:
                _ = one.low_res  # refined here, where the cores are ours
        return candidates

    def _encoded(self, name: str) -> EncodedImage:
        """An image with the embeddings that the page gets, in float16."""
        picture = self.pictures.get(name)
        return self.served.model.predictor.encode(
            picture.image, file_name=name, embed=self._embed(picture)
        )

    def _embed(self, picture: OpenPicture) -> Callable[[Tile], Embedding]:
        whole = Tile(0, 0, *picture.content.image_hw[::-1])

        def embed(window: Tile) -> Embedding:
            crop = None if window == whole else window
            return self.encoder.embedding(picture.content, lambda: picture.image, crop)

        return embed

    def text(self, name: str, text: str, threshold: float) -> Future[TextAnswer]:
        """What a text names in an image."""
        check_printable("".join(text.split()))
        for one in parse(text).classes:
            checked_name(one)
        self.find(name)
        return self._texts.submit(self._find, name, text, threshold)

    def _find(self, name: str, text: str, threshold: float) -> TextAnswer:
        picture, model = self.pictures.get(name), self.served.model
        found = find_masks(
            model.detector,
            model.predictor,
            picture.image,
            text,
            threshold=threshold,
            embed=self._embed(picture),
        )
        with self._writing:
            spelled = {normalize(one): one for one in self.run.classes}
            for label in dict.fromkeys(found.labels):
                if normalize(label) not in spelled:
                    self.changed = True
                    self.run.add_class(new_name(label, spelled.values()))
                    spelled[normalize(label)] = label
            if threshold <= self.threshold:  # Not found at a higher one says little.
                self.run.note_asked(self.find(name).picture, found.classes)
        marks = tuple(
            replace(mark, uid=uuid4().hex, label=spelled[normalize(mark.label)])
            for mark in instances_to_marks(found)
        )
        why = explain([found], parse(text), threshold=threshold, detector=model.detector)
        lines = explanation_lines(why, page=True) if why else ()
        return TextAnswer(marks, found.absent, tuple(lines))

    def mark(self, name: str, revision: int, marks: list[Mark]) -> int | None:
        """Stores an image's marks and returns their revision.

        None if they weren't made from the stored revision, and are others than what is stored.
        Raises PromptError for a class that the run hasn't.
        """
        listed, content = self.find(name), self.content(name)
        with self._writing:
            classes = self.run.classes
            marks = [replace(mark, label=known_name(mark.label, classes)) for mark in marks]
            self.changed = True
            written = self.run.mark(listed.picture, marks, content, revision=revision)
            if written is None:
                stored = self.find(name).revision
                # An answer that got lost is asked for again.
                return stored if tuple(marks) == self.run.marks(listed.picture) else None
        return written

    def add_class(self, name: str) -> tuple[str, ...]:
        """Adds a class; PromptError for a name that is there or can't be used."""
        with self._writing:
            self.changed = True
            self.run.add_class(new_name(name, self.run.classes))
            return self.run.classes

    def add_picture(self, name: str) -> None:
        """Lists an image that was put into the folder."""
        with self._writing:
            self.run.add_picture(name)

    def save(self, out: Path | None = None) -> tuple[int, int]:
        """Writes the COCO file (default: the run's); returns how many instances and images."""
        with self._saving, RunReader(self.run.path) as reader:
            count = write_annotations(reader, out or self.out, threshold=self.threshold)
            return count, reader.picture_count()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name
