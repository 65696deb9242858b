"""Writing the review of a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from perception.annotate.database import RunReader
from perception.annotate.remote import is_url
from perception.annotate.results import check_stored
from perception.annotate.review.failures import failures_by_reason
from perception.annotate.review.page import Review, page
from perception.annotate.review.survey import survey
from perception.annotate.review.thumbnails import draw_thumbnails
from perception.annotate.review.watch import Watch, unwatched
from perception.annotate.schema import SUFFIX
from perception.defaults import PER_CLASS, THRESHOLD
from perception.detector.decode import SAME_CLASS_IOU
from perception.errors import ImageError, OutputError
from perception.formats.atomic import whole_file
from perception.images import printable


@dataclass(frozen=True)
class Written:
    """What a review has come to.

    instances: from the threshold up, whether shown or not; classes: that were asked for or added;
    bytes: of the page; missing: instances that are shown without their picture.
    """

    instances: int
    classes: int
    bytes: int
    missing: int


def write_review(
    run: RunReader,
    out: Path,
    *,
    images: Path | str | None = None,
    threshold: float = THRESHOLD,
    nms: float = SAME_CLASS_IOU,
    scores_from: float | None = None,
    per_class: int = PER_CLASS,
    watch: Watch = unwatched,
) -> Written:
    """Writes one HTML page about a run, finished or not; the same run gives the same bytes.

    images: the folder or URL where its pictures are now (default: where they were); threshold: the
    least score that counts; nms: as ``results`` has it; scores_from: the least score in the
    histograms (default: the run's floor), down to which all masks have to be made; per_class:
    instances of each class that are shown. A picture that is gone or another now is said to be so.
    Raises PromptError for less than is stored, RunError for masks that weren't made, ImageError for
    a folder that can't be read, OutputError if the page can't be written.
    """
    settings = run.settings
    check_stored(settings["floor"], settings["floor_nms"], threshold=threshold, nms=nms)
    if out.is_dir():
        raise OutputError(f"{printable(str(out))}: a folder; name a file for --out")
    folder = run.place if images is None else images
    if not is_url(str(folder)):
        _check_folder(Path(folder))
    with run.snapshot():
        counts, phrases = run.counts(), run.phrases
        found = survey(
            run,
            threshold=threshold,
            scores_from=scores_from,
            per_class=per_class,
            nms=nms,
            watch=watch,
        )
        failures = failures_by_reason(run)
    thumbnails = draw_thumbnails(
        found.shown(),
        classes=found.classes,
        folder=folder,
        max_pixels=settings["max_pixels"],
        watch=watch,
    )
    name = run.path.name.removesuffix(SUFFIX)
    review = Review(name, settings, phrases, counts, found, thumbnails, failures)
    with whole_file(out) as file:
        size = sum(file.write(part.encode("utf-8")) for part in page(review))
    return Written(
        instances=int(found.counts.sum()),
        classes=len(found.classes),
        bytes=size,
        missing=sum(isinstance(drawn, str) for drawn in thumbnails.values()),
    )


def _check_folder(folder: Path) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ImageError(
            f"{printable(str(folder))}: the run's pictures can't be looked for there ({why}); "
            "name their folder with --images"
        ) from None
