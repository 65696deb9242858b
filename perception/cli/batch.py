"""Working through pictures: each is read, answered and written; a bad one doesn't stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from perception.errors import ImageError, PerceptionError
from perception.formats.pictures import save_cutouts, save_masks, save_overlay
from perception.images import printable
from perception.inputs import Picture
from perception.instances import Instances
from perception.stopwatch import Stopwatch


@dataclass
class Outcome:
    """results: one per picture that worked, without its pixels; skipped: "picture: why"."""

    results: list[Instances] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


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
    """Answers every picture and writes what ``save`` names ("overlay", "masks", "cutouts").

    tell: called with each result and the files written for it; step: called after each picture;
    skip: the errors that are of one picture alone, after which the others are still done. Any
    other error, such as OutputError when nothing can be written, ends the work.
    """
    outcome = Outcome()
    for picture in pictures:
        try:
            found = replace(work(picture.path), file_name=picture.name)
        except skip as error:
            # An ImageError names its picture.
            where = "" if isinstance(error, ImageError) else f"{printable(str(picture.path))}: "
            outcome.skipped.append(f"{where}{error}")
        else:
            watch = Stopwatch()
            with watch("write"):
                written = _write(found, folder, save)
            # Only what is small stays in memory, however many pictures there are.
            slim = replace(found, image=None, seconds={**found.seconds, **watch.seconds})
            outcome.results.append(slim)
            tell(slim, written)
        step()
    return outcome


def _write(found: Instances, folder: Path, save: Collection[str]) -> list[Path]:
    written: list[Path] = []
    if "overlay" in save:
        written.append(save_overlay(found, folder, found.file_name))
    if "masks" in save:
        written += save_masks(found, folder, found.file_name)
    if "cutouts" in save:
        written += save_cutouts(found, folder, found.file_name)
    return written
