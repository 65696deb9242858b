"""Self-contained HTML pages as trees, and progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar
from xml.etree import ElementTree

# Whatever got into a page in spite of all, it could load and run nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, style: str, body: Iterable[Tree]) -> Iterator[str]:
    """The page's text, part by part; style: CSS."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style),
    )
    yield f'<!DOCTYPE html>\n<html lang="en">\n{to_html(head)}\n<body>\n'
    for part in body:
        yield f"{to_html(part)}\n"
    yield "</body>\n</html>\n"


Tree = ElementTree.Element


def tag(name: str, /, *children: Tree | str, **attributes: str | int | float) -> Tree:
    """An element with its children; ``class_`` and ``aria_label`` are what Python can't spell."""
    named = {key.rstrip("_").replace("_", "-"): str(value) for key, value in attributes.items()}
    tree = ElementTree.Element(name, named)
    last: Tree | None = None
    for child in children:
        if not isinstance(child, str):
            tree.append(child)
            last = child
        elif last is None:
            tree.text = (tree.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return tree


def to_html(tree: Tree) -> str:
    """The element and all in it as HTML."""
    return ElementTree.tostring(tree, encoding="unicode", method="html")


Thing = TypeVar("Thing")


class Watch(Protocol):
    """Passes things on as they are asked for."""

    def __call__(self, things: Iterable[Thing], *, total: int) -> Iterable[Thing]:
        """things: ``total`` of them."""
        ...


def unwatched(things: Iterable[Thing], *, total: int) -> Iterable[Thing]:
    """Shows nothing."""
    del total
    return things
