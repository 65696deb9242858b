"""The frame of a page that needs no other file, no network and no script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perception.annotate.review.markup import Tree, tag, to_html

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
