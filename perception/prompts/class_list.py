"""Files of classes: a name a line, or YAML as YOLO's data sets have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perception.errors import PromptError
from perception.imaging.read import printable
from perception.prompts.grammar import PromptText, normalize, parse

if TYPE_CHECKING:
    from yaml.nodes import Node

Entry = tuple[str, tuple[str, ...]]
"""A class and its phrases."""


def read_classes(path: Path) -> PromptText:
    """The classes that a file names, as a prompt.

    ``*.yaml`` and ``*.yml``: a list of names, a mapping of classes to their phrase or phrases, or
    either under ``names``, as in YOLO's files, where keys that are numbers are the order. Any other
    file: a name a line; empty lines are passed over. All names are literal. Raises PromptError for
    a file that can't be read, names nothing, or names a class twice, also in another case.
    """
    name = printable(str(path))
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = (getattr(error, "strerror", None) or "not UTF-8 text").lower()
        raise PromptError(f"{name}: the classes can't be read ({why}); check the file") from None
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            return _prompt(_from_yaml(text))
        return _prompt([(line.strip(), (line.strip(),)) for line in text.splitlines()])
    except PromptError as error:
        raise PromptError(f"{name}: {error}") from None


def _prompt(entries: Sequence[Entry]) -> PromptText:
    """A list where every class is its own phrase, else a mapping."""
    entries = [(name, phrases) for name, phrases in entries if name]
    seen: dict[str, str] = {}
    for name, _ in entries:
        first = seen.setdefault(normalize(name), name)
        if first is not name:
            raise PromptError(
                f'the class "{name}" stands there twice: name it once'
                if first == name
                else f'"{first}" and "{name}" are the same class to a model: name it once'
            )
    literal = all(phrases == (name,) for name, phrases in entries)
    prompt: PromptText = (
        [name for name, _ in entries]
        if literal
        else {name: list(phrases) for name, phrases in entries}
    )
    parse(prompt)
    return prompt


def _from_yaml(text: str) -> list[Entry]:
    """Reads nodes, not values: to YAML a class called "no" is false, and the last of two wins."""
    import yaml

    try:
        root = yaml.compose(text, yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise PromptError(f"not YAML ({' '.join(str(error).split())})") from None
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "names":
                root = value
    if isinstance(root, yaml.SequenceNode):
        return [(name, (name,)) for name in _scalars(root)]
    if not isinstance(root, yaml.MappingNode):
        raise PromptError("expected a list of classes, or classes with their phrases")
    keys = [_scalar(key) for key, _ in root.value]
    values = [value for _, value in root.value]
    if keys and all(key.isdecimal() for key in keys):
        named = sorted(zip(map(int, keys), map(_scalar, values), strict=True))
        return [(name, (name,)) for _, name in named]
    return [
        (key, tuple(_scalars(value)) or (key,)) for key, value in zip(keys, values, strict=True)
    ]


def _scalars(node: Node) -> list[str]:
    """A list's texts, or the one text that stands in its place."""
    if node.id == "sequence":
        return [_scalar(item) for item in node.value]
    text = _scalar(node)
    return [text] if text else []


def _scalar(node: Node) -> str:
    if node.id != "scalar":
        raise PromptError(f"expected a text in line {node.start_mark.line + 1}")
    return str(node.value).strip()
