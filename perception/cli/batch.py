"""Working through images: each is read, answered and written; a bad one doesn't stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from perception.errors import ImageError, PerceptionError
from perception.formats.png import save_cutouts, save_masks, save_overlay
from perception.imaging.discover import Picture
from perception.imaging.read import printable
from perception.instances import Instances
from perception.runtime.batching import Stopwatch

STDIN = Path("-")
"""In place of a path: the image comes through standard input."""


@dataclass
class Outcome:
    """What came of a run.

    results: one per image that worked, without its pixels; skipped: "image: why"; interrupted:
    whether Ctrl-C ended it before all were done.
    """

    results: list[Instances] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    interrupted: bool = False


def work_through(
    pictures: Iterable[Picture],
    work: Callable[[Path], Instances],
    *,
    folder: Path,
    save: Collection[str],
    tell: Callable[[Instances, list[Path]], None],
    step: Callable[[], object],
    skip: tuple[type[PerceptionError], ...] = (ImageError,),
) -> Outcome:
    """Answers every image and writes what ``save`` names ("overlay", "masks", "cutouts").

    tell: called with each result and the files written for it; step: called after each image;
    skip: the errors that are of one image alone, after which the others are still done. Any
    other error, such as OutputError when nothing can be written, ends the work; an interrupt ends
    it with what is done so far.
    """
    outcome = Outcome()
    try:
        for picture in pictures:
            try:
                found = replace(work(picture.path), file_name=picture.name)
            except skip as error:
                outcome.skipped.append(_complaint(picture, error))
            else:
                watch = Stopwatch()
                with watch("write"):
                    written = _write(found, folder, save)
                # Only what is small stays in memory, however many images there are.
                slim = replace(found, image=None, seconds={**found.seconds, **watch.seconds})
                outcome.results.append(slim)
                tell(slim, written)
            step()
    except KeyboardInterrupt:
        outcome.interrupted = True
    return outcome


def _complaint(picture: Picture, error: PerceptionError) -> str:
    """Which image it is, and what is wrong with it."""
    if picture.path == STDIN:
        # What is read from bytes is called "image".
        return f"standard input: {str(error).removeprefix('image: ')}"
    # An ImageError names its image.
    where = "" if isinstance(error, ImageError) else f"{printable(str(picture.path))}: "
    return f"{where}{error}"


def _write(found: Instances, folder: Path, save: Collection[str]) -> list[Path]:
    written: list[Path] = []
    if "overlay" in save:
        written.append(save_overlay(found, folder, found.file_name))
    if "masks" in save:
        written += save_masks(found, folder, found.file_name)
    if "cutouts" in save:
        written += save_cutouts(found, folder, found.file_name)
    return written
