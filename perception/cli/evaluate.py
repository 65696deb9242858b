"""``perception evaluate``: measurements of what is found, and of what prompts give."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from perception.cli.evaluate_output import limit_option, output_options
from perception.cli.evaluate_prompts import boxes, clicks, everything
from perception.cli.options import Function, Group, all_of, model_options, threads_option
from perception.defaults import FLOOR

if TYPE_CHECKING:
    from perception.cli.evaluate_run import Asked

_CONCEPT_THRESHOLD = 0.5


@click.group(
    cls=Group,
    short_help="Measure models the way the papers do.",
    examples=[
        ("perception evaluate coco truth.json --images photos --limit 50", "a model, quickly"),
        ("perception evaluate coco truth.json results.json", "results of any tool"),
        ("perception evaluate clicks truth.json --images photos", "masks, click by click"),
    ],
)
def evaluate() -> None:
    """Measure models, the way the papers do, on images whose truth is known."""


def _answers_of(metavar: str) -> Callable[[Function], Function]:
    """What is measured: what is right, and what answers, or which model is to."""
    return all_of(
        click.argument("truth", metavar="TRUTH.json"),
        click.argument("answers", required=False, metavar=f"[{metavar}]"),
        click.option(
            "--images", metavar="DIR", help="Folder of the images; needed to run a model."
        ),
        model_options,
        threads_option,
        limit_option,
        output_options,
    )


def _run_options(command: Function) -> Function:
    """How a model's answers come to be."""
    return all_of(
        click.option(
            "--synonyms", is_flag=True, help="Ask a model for the categories' synonyms, too."
        ),
        click.option(
            "--out",
            metavar="FILE",
            help="COCO file of a model's answers. FILE.run beside it holds them all: the same "
            "command again goes on where one was ended, and other measurements of the same truth "
            "take them from there.  [default: perception-out/evaluate/TRUTH-MODEL.json]",
        ),
        click.option(
            "--overwrite",
            is_flag=True,
            help="Begin anew: forget a model's earlier answers in --out.",
        ),
    )(command)


_threshold_option = click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    help="Least score that counts; lower takes longer and gives a higher AP.  "
    f"[default: {FLOOR:g} of a model, all there are in a run or a file]",
)


_labels_option = click.option(
    "--labels",
    type=click.Choice(["best", "all"]),
    default="best",
    show_default=True,
    help="What counts of a thing that a model or a run has found: its best label, as everywhere "
    "else, or all labels that score high enough, as published figures are mostly counted.",
)


def _asked(options: dict[str, Any]) -> Asked:
    """What the command line says; a usage error where two answers are meant."""
    from perception.cli.evaluate_run import Asked

    source = click.get_current_context().get_parameter_source("model")
    if options["answers"] is not None and source is ParameterSource.COMMANDLINE:
        raise click.UsageError("give either RUN or RESULTS.json, or --model")
    return Asked(**options)


@evaluate.command()
@_answers_of("RUN|RESULTS.json")
@_threshold_option
@_labels_option
@_run_options
def coco(**options: Any) -> int:
    """COCO's average precision, of boxes and masks.

    RUN: what annotate was told to write, or the .run file beside it. RESULTS.json: COCO results, or
    a COCO file with scores. Without either, --model answers for all categories of the truth.
    """
    from perception.cli.evaluate_run import run_precision
    from perception.evaluate.precision import measure_coco

    return run_precision(_asked(options), measure_coco)


@evaluate.command()
@_answers_of("RUN|RESULTS.json")
@_threshold_option
@_labels_option
@_run_options
def lvis(**options: Any) -> int:
    """LVIS' federated average precision: only what was judged counts.

    Takes what coco takes; images of the truth have neg_category_ids and perhaps
    not_exhaustive_category_ids.
    """
    from perception.cli.evaluate_run import run_precision
    from perception.evaluate.precision import measure_lvis

    return run_precision(_asked(options), measure_lvis)


@evaluate.command()
@_answers_of("RUN|RESULTS.json")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=_CONCEPT_THRESHOLD,
    show_default=True,
    help="Least score of an answer that counts.",
)
@_run_options
def concepts(**options: Any) -> int:
    """Concept-level F1 (cgF1): is it there, and if so, all of it?

    Takes what coco and lvis take. Presence is Matthews' correlation over pairs of an image and a
    category, localisation the F1 of instances where it is present; the figure is their product.
    """
    from perception.cli.evaluate_run import run_concepts

    return run_concepts(_asked(options))


@evaluate.command()
@_answers_of("RUN|RESULTS.json")
def grounding(**options: Any) -> int:
    """Recall of phrases: is one of the first 1, 5, 10 boxes the thing?

    TRUTH.json: a list of {"image": NAME, "phrase": TEXT, "boxes": [[x0, y0, x1, y1], ...]}, or a
    COCO file, of which each category that is present is a phrase. RESULTS.json: such a list, each
    entry with "scores", or what coco takes. Without it, --model is asked for all phrases of a
    image together; what is answered is kept in FILE.kept beside --json or --report: the same
    command goes on.
    """
    from perception.cli.evaluate_run import run_grounding

    return run_grounding(_asked(options))


evaluate.add_command(clicks)
evaluate.add_command(boxes)
evaluate.add_command(everything)


@evaluate.command()
@click.argument("truth", required=False, metavar="[TRUTH.json]")
@click.option(
    "--data",
    metavar="DIR",
    help="The GrabCut set, with images and masks: cv2.grabCut has to reach its known figure there.",
)
@output_options
def check(
    truth: str | None, data: str | None, json: str | None, report: str | None, quiet: bool
) -> int:
    """Check the measurements: each has to give what arithmetic says.

    On drawn things whose answers are shifted, shrunk, missing, swapped; and, with TRUTH.json, on
    this truth against itself. Status 1 if any fails.
    """
    from perception.cli.evaluate_run import run_check

    return run_check(truth, data, json=json, report=report, quiet=quiet)
