"""Which category of the truth a name means, and what to ask a model for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from perception.errors import EvaluationError
from perception.evaluate.truth import Category
from perception.phrases import PromptText, normalise

_MOST_NAMED = 5


def match_names(names: Sequence[str], categories: Sequence[Category]) -> dict[str, int]:
    """The category id that each name means.

    Case, underscores and spaces don't tell names apart. A name, or a part of one between ``|``, is
    first held against the categories' names, then against their synonyms. Raises EvaluationError
    that lists the names which mean no category, or several.
    """
    by_name = _by_spelling((category.id, (category.name,)) for category in categories)
    by_synonym = _by_spelling((category.id, category.synonyms) for category in categories)
    matched: dict[str, int] = {}
    unknown: list[str] = []
    unclear: list[str] = []
    for name in names:
        ids = _ids(name, by_name) or _ids(name, by_synonym)
        if len(ids) == 1:
            matched[name] = next(iter(ids))
        else:
            (unclear if ids else unknown).append(name)
    if unknown:
        raise EvaluationError(
            f"{_listed(unknown)}: no such category in the truth; call the classes as it does"
        )
    if unclear:
        raise EvaluationError(
            f"{_listed(unclear)}: several categories of the truth are called so; use their names"
        )
    return matched


def prompt_of(categories: Sequence[Category], *, synonyms: bool = False) -> PromptText:
    """All categories as a prompt: each a class that is asked for by its name.

    Underscores become spaces, and of a name such as ``car | automobile`` each part is a phrase.
    synonyms: ask for these, too, but for those that several categories share.
    """
    prompt: dict[str, str | Sequence[str]] = {}
    owners: dict[str, int] = {}
    for category in categories:
        for part in _parts(category.name):
            if owners.setdefault(_spelled(part), category.id) != category.id:
                raise EvaluationError(
                    f'two categories of the truth are called "{part}"; rename one of them'
                )
    shared = _by_spelling((category.id, category.synonyms) for category in categories)
    for category in categories:
        texts = _parts(category.name)
        for text in category.synonyms if synonyms else ():
            alone = owners.get(_spelled(text), category.id) == category.id
            if alone and len(shared[_spelled(text)]) == 1:
                texts.append(text)
        phrases: dict[str, str] = {}
        for text in texts:
            phrases.setdefault(_spelled(text), text.replace("_", " "))
        prompt[category.name] = list(phrases.values())
    if all(phrases == [name] for name, phrases in prompt.items()):
        return list(prompt)
    return prompt


def spoken(name: str) -> str:
    """A category's name as a phrase: its first part, underscores as spaces."""
    return _parts(name)[0].replace("_", " ")


def _by_spelling(names: Iterable[tuple[int, Sequence[str]]]) -> Mapping[str, set[int]]:
    ids: dict[str, set[int]] = defaultdict(set)
    for category, texts in names:
        for text in texts:
            for part in (text, *_parts(text)):
                ids[_spelled(part)].add(category)
    return ids


def _ids(name: str, known: Mapping[str, set[int]]) -> set[int]:
    if _spelled(name) in known:
        return known[_spelled(name)]
    found: set[int] = set()
    for part in _parts(name):
        found |= known.get(_spelled(part), set())
    return found


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split("|") if part.strip()] or [name]


def _spelled(name: str) -> str:
    return normalise(name.replace("_", " "))


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(f'"{name}"' for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{some} and {more} more" if more > 0 else some
