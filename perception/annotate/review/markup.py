"""HTML as a tree that the standard library writes: whatever is text in it is escaped."""

from __future__ import annotations

from xml.etree import ElementTree

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
