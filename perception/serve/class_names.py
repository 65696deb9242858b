"""Names of classes that come from a page."""

from __future__ import annotations

from collections.abc import Iterable

from perception.errors import PromptError
from perception.phrases import normalise, tidy

MOST_CHARACTERS = 100
MOST_CLASSES = 2000


def check_printable(name: str) -> None:
    """Raise PromptError for characters that can't be seen or would change how a line is shown."""
    if not name.isprintable():
        raise PromptError("a class's name has characters that can't be printed; leave them out")


def checked_name(name: str) -> str:
    """A class's name with single spaces; PromptError for one that can't be used."""
    check_printable(name)
    name = tidy(name)
    if not normalise(name):
        raise PromptError("a class's name is empty; give it at least one letter")
    if len(name) > MOST_CHARACTERS:
        raise PromptError(f"a class's name has at most {MOST_CHARACTERS} characters")
    return name


def new_name(name: str, classes: Iterable[str]) -> str:
    """As ``checked_name``; PromptError also for one that is among some classes, in any case."""
    name, known = checked_name(name), {normalise(one): one for one in classes}
    if normalise(name) in known:
        raise PromptError(f'there is a class "{known[normalise(name)]}" already')
    if len(known) >= MOST_CLASSES:
        raise PromptError(f"more than {MOST_CLASSES} classes")
    return name


def known_name(name: str, classes: Iterable[str]) -> str:
    """A class as the run spells it; PromptError for one that it hasn't."""
    check_printable(name)
    key = normalise(name)
    for one in classes:
        if normalise(one) == key:
            return one
    raise PromptError(f"no class is called {name[:MOST_CHARACTERS]!r}; add it first")
