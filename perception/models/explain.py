"""Why nothing was found for a class, and what to try.

Pure functions: results in, an ``Explanation`` out, and lines of text from that. What they know: the
best score below the threshold; whether a phrase reads as a question or an order instead of a name;
in which alphabet it is written; and, of a detector that has a vocabulary of its own (nano), which
words aren't in it. Of published models, which read any text, no such claim is made.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from perception.defaults import FLOOR
from perception.instances import Instances
from perception.prompts.grammar import Phrases

Reading = Literal["name", "question", "order"]
"""What a phrase reads as. Detectors look for names."""

_SHOWN = 3
"""How many classes or words one line names."""

_LEAST_TO_TRY = 0.1
"""A threshold below this, 0..1, isn't recommended: what it lets through is mostly wrong."""

_NO_NAMES = frozenset({"", "it", "this", "that", "there", "here", "everything", "anything", "all"})

_SCRIPTS = {
    "cjk": "Chinese characters",
    "hiragana": "Japanese",
    "katakana": "Japanese",
    "hangul": "Korean",
}
"""Alphabets whose Unicode name isn't what people call them."""

_FILLER = (
    r"(?:please|me|for|of|out|up|my|our|the|this|that|these|those|an?|all|any|every|each|some)"
)
_ASKING = r"(?:where|what|which|who|whose|how|when|why)"
_BEING = r"(?:is|are|was|were|does|do|can|could|will|would)"
_SEEING = r"(?:you\s+|i\s+|we\s+)?(?:see|find|show|have|there)?"
_QUESTION = re.compile(
    rf"^(?:{_ASKING}(?:'s|\s+many|\s+much)?\s+|(?:{_BEING})\s+(?:there|you|we|i|it|this|that)\s+)"
)
_LEAD = re.compile(
    rf"^(?:{_ASKING}(?:'s|\s+many|\s+much)?\s+)?(?:{_BEING}\s+)?{_SEEING}\s*(?:{_FILLER}\s+)*"
)
_ORDER = re.compile(
    r"^(?:please\s+)?(?:find|detect|locate|identify|segment|highlight|"
    rf"(?:show|mark|mask|count|cut|get|select|give|look|outline|point)\s+(?={_FILLER}\s))\s*"
    rf"(?:{_FILLER}\s+)*(?=\S)"
)
_WHERE = re.compile(
    r"\s*(?:\b(?:in|on|of|from)\s+(?:the|this|that|my)\s+"
    r"(?:image|picture|photo|photograph|scene|foreground|background)s?)?"
    r"(?:\s+(?:here|there|(?:is|are)\s+there|please))?\s*$"
)
_AND = re.compile(rf"\s+and\s+(?:{_FILLER}\s+)*")


@runtime_checkable
class VocabularyDetector(Protocol):
    """A detector that knows which words it was never taught."""

    name: str

    def unknown_words(self, phrase: str) -> tuple[str, ...]:
        """The words of a phrase that aren't in the vocabulary."""
        ...


@dataclass(frozen=True)
class MissedClass:
    """A class that was asked for and found in no image.

    best_score: the highest score of a box that could be given this class, None where none reaches
    ``FLOOR``; reading: what its phrase reads as; names: what a question or an order seems to be
    about, as a prompt names it ("" where that isn't clear); script: of letters that aren't Latin,
    "" where all are; unknown_words: those outside of the detector's vocabulary, where it has one.
    """

    name: str
    best_score: float | None = None
    reading: Reading = "name"
    names: str = ""
    script: str = ""
    unknown_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why some classes weren't found, and what may help.

    classes: those found in no image, the nearest to the threshold first; nothing: whether no class
    was found at all; vocabulary: the detector whose vocabulary the unknown words aren't in, "" for
    one without; try_threshold: the highest threshold, in hundredths, that finds one of them;
    try_model: a model that may know more, "" for none.
    """

    threshold: float
    classes: tuple[MissedClass, ...]
    nothing: bool
    vocabulary: str = ""
    try_threshold: float | None = None
    try_model: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return {**asdict(self), "classes": [asdict(one) for one in self.classes]}


def explain(
    results: Sequence[Instances], phrases: Phrases, *, threshold: float, detector: object = None
) -> Explanation | None:
    """Explain why classes were found in none of some images.

    Args:
        results: what was found, of the same prompt and threshold each.
        phrases: what was asked for.
        threshold: the least score that counted.
        detector: who answered; one that is a ``VocabularyDetector`` is asked about words.

    Returns:
        None where every class was found somewhere, or no image was looked at.
    """
    found = {label for result in results for label in result.labels}
    missed = [name for name in phrases.classes if name not in found]
    if not missed or not results:
        return None
    own = detector if isinstance(detector, VocabularyDetector) else None
    best: dict[str, float] = {}
    for result in results:
        for name, score in result.best_scores.items():
            best[name] = max(score, best.get(name, 0.0))
    classes = [
        _missed(
            name, best.get(name), _phrases_of(name, phrases), own.unknown_words if own else None
        )
        for name in missed
    ]
    classes.sort(key=lambda one: -(one.best_score or 0.0))
    below = [
        one.best_score
        for one in classes
        if one.best_score and _LEAST_TO_TRY <= one.best_score < threshold
    ]
    nothing = not found
    readable = any(one.reading == "name" and not one.script for one in classes)
    return Explanation(
        threshold=threshold,
        classes=tuple(classes),
        nothing=nothing,
        vocabulary=own.name if own else "",
        try_threshold=math.floor(100 * below[0]) / 100 if below else None,
        try_model="base" if own and nothing and readable else "",
    )


def explanation_lines(explanation: Explanation, *, page: bool = False) -> list[str]:
    """Return an explanation as one to three lines of text.

    page: for someone at the click page, who has a field for the threshold in place of options.
    """
    lines = [_scores_line(explanation)]
    reasons = _reasons(explanation, page=page)
    if reasons:
        lines.append("; ".join(reasons))
    advice = []
    if explanation.try_threshold is not None:
        option = "a threshold of " if page else "--threshold "
        advice.append(f"{option}{explanation.try_threshold:g}")
    if explanation.try_model:
        model = explanation.try_model
        start = f"perception serve with --model {model}" if page else f"--model {model}"
        advice.append(f"{start}, made for photographs (perception weights pull {model})")
    if advice:
        lines.append(f"try {', or '.join(advice)}")
    return lines


def dropped_line(found: Instances, *, quality: float, stability: float) -> str:
    """Return how many candidates of segment-everything fell at which limit, as one line."""
    limits = {
        "quality": f"below a quality of {quality:g} (--quality)",
        "stability": f"below a stability of {stability:g} (--stability)",
        "cut": "cut by the edge of a crop",
        "repeated": "repeated a better one (--nms)",
        "small": "too small (--min-area)",
    }
    total = found.dropped.get("candidates", 0)
    fell = [f"{n:,} {limits[key]}" for key, n in found.dropped.items() if n and key in limits]
    return f"{_count(len(found), 'mask')} of {total:,} candidates: {', '.join(fell) or 'all kept'}"


def _missed(
    name: str,
    best: float | None,
    phrases: Sequence[str],
    unknown_words: Callable[[str], Sequence[str]] | None,
) -> MissedClass:
    reading, names = next((one for one in map(_read, phrases) if one[0] != "name"), ("name", ""))
    script = next(filter(None, map(_script, phrases)), "")
    words: Iterable[str] = ()
    if unknown_words is not None and not script and (reading == "name" or names):
        asked = phrases if reading == "name" else [names]
        words = dict.fromkeys(word for phrase in asked for word in unknown_words(phrase))
    return MissedClass(name, best, reading, names, script, tuple(words))


def _phrases_of(name: str, phrases: Phrases) -> list[str]:
    own = phrases.classes.index(name)
    pairs = zip(phrases.phrases, phrases.class_ids, strict=True)
    return [phrase for phrase, class_id in pairs if class_id == own]


def _read(phrase: str) -> tuple[Reading, str]:
    """What a normalized phrase reads as, and the names in it."""
    text = phrase.strip()
    asked = text.endswith("?")
    text = text.rstrip("?! ")
    if asked or _QUESTION.match(text):
        return "question", _names(_LEAD.sub("", text, count=1))
    order = _ORDER.match(text)
    if order:
        return "order", _names(text[order.end() :])
    return "name", ""


def _names(text: str) -> str:
    names = _AND.sub(". ", _WHERE.sub("", text, count=1)).strip()
    return "" if names in _NO_NAMES else names


def _script(phrase: str) -> str:
    """What the first letter that isn't Latin is written in; "" where all are."""
    for char in phrase:
        if unicodedata.category(char)[0] == "L":
            script = unicodedata.name(char, "LATIN").split()[0].lower()
            if script not in ("latin", "fullwidth", "feminine", "masculine", "modifier"):
                return _SCRIPTS.get(script, script.title())
    return ""


def _scores_line(explanation: Explanation) -> str:
    threshold = explanation.threshold
    near = [one for one in explanation.classes if one.best_score and one.best_score < threshold]
    lost = [one for one in explanation.classes if one.best_score and one.best_score >= threshold]
    none = [one for one in explanation.classes if not one.best_score]
    parts = []
    if near:
        some = _some([f"{_quoted(one.name)} {hundredths(one.best_score or 0)}" for one in near])
        parts.append(f"best scores below the threshold of {threshold:g}: {some}")
    if none:
        floor = min(FLOOR, threshold)
        parts.append(f"no box scores {floor:g} for {_some([_quoted(one.name) for one in none])}")
    if lost:
        some = _some([_quoted(one.name) for one in lost])
        parts.append(f"boxes, but no mask that isn't empty or another's: {some}")
    return f"{'nothing found' if explanation.nothing else 'not found'}: {'; '.join(parts)}"


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name


def hundredths(score: float) -> str:
    """A score in hundredths; below the threshold it must not look as if it reached it."""
    return f"{math.floor(100 * score) / 100:.2f}"


def _reasons(explanation: Explanation, *, page: bool) -> list[str]:
    reasons = []
    for one in explanation.classes:
        if one.reading != "name":
            where = f'"{one.names}"' if page else f'--text "{one.names}"'
            instead = f": {where}" if one.names else ', such as "dog. red car"'
            article = "an order" if one.reading == "order" else "a question"
            reasons.append(f'"{one.name}" reads as {article}; give names of things{instead}')
            break
    strange = [one for one in explanation.classes if one.script]
    if strange and explanation.vocabulary:
        some = _some([f"{one.name} ({one.script})" for one in strange])
        reasons.append(f"{explanation.vocabulary} reads English only: {some}")
    words = list(dict.fromkeys(w for one in explanation.classes for w in one.unknown_words))
    if words:
        reasons.append(
            f"not in the vocabulary of {explanation.vocabulary}, which is English: {_some(words)}"
        )
    return reasons


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _count(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"
