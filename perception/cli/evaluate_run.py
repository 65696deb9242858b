"""Running the measurements of what is found: read, answer, measure, print."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from perception.cli import weights_run
from perception.cli.annotate_run import make_masks_shown, run_annotate
from perception.cli.evaluate_output import give_out, keep_path, watch_pictures
from perception.cli.options import OUT
from perception.defaults import BATCH, FLOOR
from perception.detectors.decode import Labelling
from perception.evaluate.check import PROMPT_CHECKS, Check, CheckResult, grabcut_checks
from perception.evaluate.check_instances import INSTANCE_CHECKS, truth_checks
from perception.evaluate.concepts import measure_concepts
from perception.evaluate.ground_truth import Truth, picture_paths, read_truth
from perception.evaluate.grounding import GroundingResult, ground, measure_grounding, ranked_of
from perception.evaluate.phrase_boxes import PhraseTruth, phrases_of, read_phrases, read_ranked
from perception.evaluate.predictions import Answers, prompt_of, read_answers
from perception.imaging.read import printable, read_header
from perception.models import load as loading
from perception.models.model import Model
from perception.report.measurement import Measurement
from perception.runs.missing_masks import Load
from perception.runs.read import RunReader, find_run, run_path
from perception.runs.settings import StorageSettings
from perception.runs.store import SUFFIX

_MOST_NAMED = 5


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    truth: str
    answers: str | None
    images: str | None
    model: str
    device: str
    precision: str
    threads: int
    json: str | None
    report: str | None
    quiet: bool
    limit: int | None = None
    threshold: float | None = None
    labels: str = "best"
    synonyms: bool = False
    out: str | None = None
    overwrite: bool = False

    def read_truth(self) -> Truth:
        """The truth, or the part of it that is to be measured on."""
        truth = read_truth(Path(self.truth))
        return truth if self.limit is None else truth.limited(self.limit)

    @property
    def folder(self) -> Path:
        """The pictures' folder; a usage error where a model needs it and it isn't named."""
        if self.images is None:
            raise click.UsageError("give RUN or RESULTS.json, or --images to run a model on")
        return Path(self.images)

    def load(self) -> Model:
        """The model to run."""
        return loading.load(
            self.model, device=self.device, precision=self.precision, threads=self.threads
        )

    @property
    def run_out(self) -> Path:
        """The COCO file of a model's answers."""
        if self.out is not None:
            return Path(self.out)
        model = re.sub(r"[^\w.+-]+", "-", self.model).strip("-")
        return Path(OUT) / "evaluate" / f"{Path(self.truth).stem}-{model}.json"


def run_precision(asked: Asked, measure: Callable[[Truth, Answers], Measurement]) -> int:
    """Measures average precision; returns the exit status, 1 if images failed."""
    truth = asked.read_truth()
    status, answers = _answers(asked, truth)
    _give_out(measure(truth, answers), asked, answers.images)
    return status


def run_concepts(asked: Asked) -> int:
    """Measures the concept-level F1; returns the exit status, 1 if images failed."""
    truth = asked.read_truth()
    status, answers = _answers(asked, truth)
    measured = measure_concepts(truth, answers, threshold=asked.threshold or 0.0)
    _give_out(measured, asked, answers.images)
    return status


def run_grounding(asked: Asked) -> int:
    """Measures the recall of phrases; returns the exit status."""
    phrases = read_phrases(Path(asked.truth))
    if phrases is not None:
        phrases = phrases if asked.limit is None else phrases.limited(asked.limit)
        _give_out(_ground_phrases(asked, phrases), asked, None)
        return 0
    truth = asked.read_truth()
    if asked.answers is None:
        _give_out(_ground(asked, phrases_of(truth)), asked, None)
        return 0
    _make_masks(asked, Path(asked.answers), None)
    answers = read_answers(Path(asked.answers), truth)
    _say_what_is_missing(answers, asked)
    measured = measure_grounding(
        phrases_of(truth),
        ranked_of(answers, truth),
        info=answers.info,
        sizes={picture.file_name: picture.image_hw for picture in truth.pictures},
    )
    _give_out(measured, asked, answers.images)
    return 0


def run_check(
    truth: str | None, data: str | None, *, json: str | None, report: str | None, quiet: bool
) -> int:
    """Checks the measurements; returns the exit status, 1 if any fails."""
    given = None if truth is None else read_truth(Path(truth))
    result = CheckResult(tuple(_checks(given, data, quiet=quiet)))
    give_out(result, json=json, report=report, images=None, quiet=quiet)
    return 1 if result.failed else 0


def _checks(truth: Truth | None, data: str | None, *, quiet: bool) -> Iterator[Check]:
    for source in (*INSTANCE_CHECKS, *PROMPT_CHECKS):
        yield from source()
    if truth is not None:
        yield from truth_checks(truth)
    if data is not None:
        yield from grabcut_checks(Path(data), watch=watch_pictures(quiet=quiet))


def _answers(asked: Asked, truth: Truth) -> tuple[int, Answers]:
    """What was found, or what a model finds now, and the exit status."""
    status = 0
    load: Load | None = None
    if asked.answers is None:
        status = _annotate(asked, truth)
        path = run_path(asked.run_out)
        load = lambda *_: asked.load()  # noqa: E731
    else:
        path = Path(asked.answers)
    _make_masks(asked, path, load)
    answers = read_answers(path, truth, threshold=asked.threshold, all_labels=asked.labels == "all")
    if not asked.quiet and truth.has_masks and not answers.has_masks:
        click.echo("note: not all answers have a mask: only boxes are measured", err=True)
    _say_what_is_missing(answers, asked)
    return status, answers


def _make_masks(asked: Asked, path: Path, load: Load | None) -> None:
    """Makes the masks of a run that are measured and that it hasn't; without them nothing is."""
    run = find_run(path)
    if not run.name.endswith(SUFFIX) or not run.is_file():
        return
    with RunReader(run) as reader:
        floor = reader.settings["floor"]
    least = asked.threshold or floor
    if least < floor:
        return  # Reading the answers says what is wrong.
    labelling = Labelling(least, all_labels=asked.labels == "all")
    make_masks_shown(run, labelling, images=asked.images, load=load, quiet=asked.quiet)


def _annotate(asked: Asked, truth: Truth) -> int:
    """Asks a model for all categories in all images, as an annotation run."""
    paths = picture_paths([picture.file_name for picture in truth.pictures], asked.folder)
    floor = min(FLOOR, asked.threshold or FLOOR)
    # Standard output is for the figures.
    aside = io.StringIO() if asked.quiet else sys.stderr
    with TemporaryDirectory() as folder, redirect_stdout(aside):
        listed = Path(folder) / "pictures.txt"
        listed.write_bytes(b"".join(bytes(path.absolute()) + b"\0" for path in paths))
        return run_annotate(
            [str(listed)],
            prompt_of(truth.categories, synonyms=asked.synonyms),
            asked.run_out,
            images=asked.images,
            model=asked.model,
            device=asked.device,
            precision=asked.precision,
            threads=asked.threads,
            parallel=0,
            engine="local",
            address=None,
            threshold=floor,
            drop_nested=False,
            disjoint=False,
            keeping=StorageSettings(floor=floor),
            batch=BATCH,
            workers=None,
            overwrite=asked.overwrite,
            retry_failed=False,
            quiet=asked.quiet,
        )


def _ground(asked: Asked, phrases: PhraseTruth) -> GroundingResult:
    """A model's answers to phrases."""
    picture_paths(phrases.pictures, asked.folder)  # It says where they aren't.
    weights_run.offer(asked.model)
    return ground(
        asked.load(),
        phrases,
        asked.folder,
        keep=keep_path(json=asked.json, report=asked.report),
        watch=watch_pictures(quiet=asked.quiet),
    )


def _ground_phrases(asked: Asked, phrases: PhraseTruth) -> GroundingResult:
    """A list of phrases against a list of answers, or a model's."""
    if asked.answers is None:
        return _ground(asked, phrases)
    sizes = {}
    if asked.images is not None:
        paths = picture_paths(phrases.pictures, asked.folder)
        there = zip(phrases.pictures, paths, strict=True)
        sizes = {name: read_header(path).image_hw for name, path in there if path.is_file()}
    answers = Path(asked.answers)
    return measure_grounding(
        phrases, read_ranked(answers), info={"answers": answers.name}, sizes=sizes
    )


def _say_what_is_missing(answers: Answers, asked: Asked) -> None:
    """Notes on what counts as not found because nobody looked."""
    if asked.quiet:
        return
    if answers.unanswered:
        click.echo(
            f"note: {answers.unanswered:,} of the truth's images have no answer: what is in them "
            "counts as missed",
            err=True,
        )
    if answers.not_asked:
        some = ", ".join(printable(name) for name in answers.not_asked[:_MOST_NAMED])
        more = len(answers.not_asked) - _MOST_NAMED
        click.echo(
            f"note: categories that nobody was asked for count as missed: {some}"
            + (f" and {more:,} more" if more > 0 else ""),
            err=True,
        )


def _give_out(measured: Measurement, asked: Asked, images: Path | None) -> None:
    folder = asked.images or images
    give_out(measured, json=asked.json, report=asked.report, images=folder, quiet=asked.quiet)
