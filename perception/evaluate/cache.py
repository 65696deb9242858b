"""Inference image by image for a measurement, with a resume cache and its key.

JSON lines: the first says what was asked of whom, each further one is an image's answers. A line
that was cut off in the middle is an image that isn't finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from perception import __version__
from perception.coco.write import to_json
from perception.errors import EvaluationError, OutputError
from perception.evaluate.objects import Things, TruePicture
from perception.imaging.read import printable
from perception.models.model import Model
from perception.report.html import Watch
from perception.runs.settings import only_worker
from perception.types import ImageArray

SUFFIX = ".kept"
_FORM = "perception kept answers 1"

Add = Callable[[str, Any], None]
"""Keeps one more image's answers, plain values that JSON holds exactly."""


@contextmanager
def kept(path: Path | None, asked: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Add]]:
    """What is kept, by image, and what keeps one more.

    path: the file, made if it isn't there, or None to keep nothing; asked: what is asked of whom,
    as plain values. Raises EvaluationError for a file of other answers, RunError while another
    process writes it, OutputError if it can't be written.
    """
    if path is None:
        yield {}, lambda _picture, _answer: None
        return
    name = printable(str(path))
    with ExitStack() as stack:
        with _explained(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(only_worker(path))
            file = stack.enter_context(path.open("a+b"))
            before = _read(file, asked, name)

        def add(picture: str, answer: Any) -> None:
            with _explained(name):
                _write(file, {"picture": picture, "answer": answer})

        yield before, add


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"{name}: can't be written ({why})") from None


def _write(file: IO[bytes], row: Mapping[str, Any]) -> None:
    file.write(_line(row))
    file.flush()


def _line(row: Mapping[str, Any]) -> bytes:
    return to_json(row).encode("utf-8", "backslashreplace") + b"\n"


def _read(file: IO[bytes], asked: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The whole lines of a file that is open for reading and appending; a cut one is dropped."""
    file.seek(0)
    content, head = file.read(), {"form": _FORM, "asked": asked}
    whole = content.rfind(b"\n") + 1
    try:
        before = _parsed(content[:whole], json.loads(_line(head)), name)
        if not whole and not _line(head).startswith(content):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(
            f"{name}: not the answers that an earlier measurement kept; remove it, or write "
            "--json or --report elsewhere"
        ) from None
    file.truncate(whole)
    if not whole:
        _write(file, head)
    return before


def _parsed(content: bytes, head: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Answers by image; raises ValueError, KeyError or TypeError for what is something else."""
    rows = [json.loads(line) for line in content.splitlines()]
    if rows:
        if rows[0]["form"] != _FORM:
            raise ValueError
        _check(rows[0]["asked"], head["asked"], name)
    return {row["picture"]: row["answer"] for row in rows[1:]}


def _check(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    """Raises EvaluationError where something else was asked before."""
    differ = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differ:
        was, is_ = (_brief(one.get(differ[0])) for one in (before, now))
        raise EvaluationError(
            f"{name}: keeps answers of another measurement ({differ[0]}: {was} there, {is_} now); "
            "write --json or --report elsewhere, or remove it to begin anew"
        )


def _brief(value: object) -> str:
    text = to_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


Ask = Callable[[ImageArray, TruePicture], Any]
"""What answers for an image's things, as plain values that JSON holds exactly."""


def answer_all(
    things: Things, ask: Ask, *, asked: Mapping[str, Any], keep: Path | None, watch: Watch
) -> list[tuple[TruePicture, Any]]:
    """The answers for all images that have things, in their order.

    asked, keep: what is asked of whom, and the file of answers, see ``kept_answers``. Raises
    ImageError for an image that can't be read, and what ``kept`` raises.
    """
    pictures = [picture for picture in things.pictures if picture.things]
    answered = []
    with kept(keep, asked) as (before, add):
        for picture in watch(pictures, total=len(pictures)):
            answer = before.get(picture.file_name)
            if answer is None:
                answer = ask(picture.read(), picture)
                add(picture.file_name, answer)
            answered.append((picture, answer))
    return answered


def asked_of(
    model: Model, things: Things, *, measured: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The question in full: answers to equal ones are equal."""
    made = {"weights": dict(model.weights), "precision": model.precision}
    return asked_by_name(
        model.segmenter.name, things, measured=measured, settings={**made, **settings}
    )


def asked_by_name(
    name: str, things: Things, *, measured: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """As ``asked_of``, of what isn't a model with weights."""
    return {
        "measured": measured,
        "segmenter": name,
        "truth": things.name,
        "truth sha256": things.sha256,
        "version": __version__,
        **settings,
    }
