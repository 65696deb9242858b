"""The prompt grammar: text in, phrases and classes out.

::

    prompt := entry (("." | "," | ";" | newline) entry)*
    entry  := ["!"] [class ":"] phrase ("|" phrase)*

``person, vehicle: car | truck, !mannequin`` asks for *person* and *vehicle*; *car* and *truck* are
both reported as *vehicle*; *mannequin* competes for boxes and what it wins is dropped. Double
quotes protect, a dot between digits doesn't separate, full-width punctuation does. An entry without
a visible character, such as a zero-width space, is no entry. The entries of lists and dicts are
literal; there such an entry is an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perception.errors import PromptError

PromptText = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""A prompt: a string in the grammar, a list of names, or classes with their phrases."""

NEGATIVE = -1
"""The class id of a phrase that competes for boxes and is never reported."""

_SEPARATORS = frozenset(".,;\n\r。．｡，、､；")
_MARKS = {":": ":", "：": ":", "|": "|", "｜": "|", "!": "!", "！": "!"}
_QUOTES = {'"': '"', "“": "”", "＂": "＂", "«": "»", "「": "」"}
_DOTS = ".。．｡…"
# Default_Ignorable_Code_Point of the Unicode Character Database, and the blank of Braille.
_IGNORABLE = re.compile(
    "[\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e"
    "\\u2060-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8"
    "\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff]+"
)
# Of these what says where a line may break, and nothing of the characters beside it.
_BREAKS = re.compile("[\\u00ad\\u200b\\u2060\\ufeff]+")
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f]+")
_EXAMPLE = 'for example "red star. vehicle: car | truck, !mannequin"'


@dataclass(frozen=True)
class Phrases:
    """What a detector is asked for.

    phrases: what the text encoder reads, normalized; class_ids: per phrase the index into
    ``classes``, ``NEGATIVE`` where it is not to be reported; classes: the names to report, each in
    its first spelling, in order.
    """

    phrases: tuple[str, ...]
    class_ids: tuple[int, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.phrases)


@dataclass(frozen=True)
class _Token:
    """One character of a prompt; ``mark`` is what it does in the grammar, "" for plain text."""

    text: str
    mark: str = ""


@dataclass
class _Builder:
    """Collects phrases and classes; the same phrase or class in another spelling is the same."""

    owners: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    class_ids: dict[str, int] = field(default_factory=dict)

    def add(self, class_name: str, phrases: Iterable[str], *, negative: bool = False) -> None:
        class_id = NEGATIVE
        if not negative:
            class_id = self.class_ids.setdefault(normalize(class_name), len(self.names))
            if class_id == len(self.names):
                self.names.append(class_name)
        for phrase in phrases:
            text = normalize(phrase)
            if self.owners.setdefault(text, class_id) != class_id:
                raise PromptError(
                    f'the phrase "{phrase}" stands for two classes, or for one and for a negative: '
                    "name it once"
                )

    def build(self) -> Phrases:
        if not self.names:
            what = "only negatives" if self.owners else "empty"
            raise PromptError(f"the prompt is {what}: name at least one thing, {_EXAMPLE}")
        return Phrases(tuple(self.owners), tuple(self.owners.values()), tuple(self.names))


def normalize(phrase: str) -> str:
    """The text as a model reads it: one case, single spaces, no trailing dots, one Unicode form.

    Case and form are those of Unicode's NFKC_Casefold (The Unicode Standard, section 3.13), which
    also leaves out what can't be seen. What is normalized stays as it is.
    """
    if phrase.isascii():  # The same, sooner.
        return tidy(phrase.lower())
    text, before = _folded(phrase), None
    while text != before:  # Where folding makes a space or a dot, the text is tidied again.
        text, before = _folded(text), text
    return text


def _folded(text: str) -> str:
    # Folded before it is composed: a letter and its accents fold alike, together or apart.
    for form in ("NFD", "NFKD"):
        text = unicodedata.normalize(form, text).casefold()
    return tidy(unicodedata.normalize("NFKC", _IGNORABLE.sub("", text)))


def tidy(phrase: str) -> str:
    """The text as it is reported: spelling kept, single spaces, no trailing dots.

    Zero-width spaces and soft hyphens are left out.
    """
    return " ".join(_BREAKS.sub("", " ".join(phrase.split())).split()).rstrip(_DOTS + " ")


def _is_empty(text: str) -> bool:
    """Whether no character of a text can be seen."""
    return not _CONTROLS.sub("", normalize(text)).strip()


def parse(prompt: PromptText) -> Phrases:
    """Reads a prompt: a string in the grammar above, a list of names, or classes with phrases.

    A list's entries are names, taken literally; a dict maps a class to its phrase or phrases.
    Raises PromptError for a prompt that is empty, has only negatives, or can't be read.
    """
    builder = _Builder()
    if isinstance(prompt, bytes) or not isinstance(prompt, Iterable):
        raise PromptError(
            f"a prompt is a string, a list of names or a dict of classes, got {prompt!r}"
        )
    if isinstance(prompt, str):
        for entry in _entries(_tokens(prompt)):
            _read_entry(entry, builder)
    elif isinstance(prompt, Mapping):
        for name, phrases in prompt.items():
            several = isinstance(phrases, Iterable) and not isinstance(phrases, str | bytes)
            many = list(phrases) if several else [phrases]
            if not many:
                raise PromptError(f'the class "{name}" has no phrase: give it at least one')
            builder.add(_literal(name), [_literal(phrase) for phrase in many])
    else:
        for name in prompt:
            builder.add(_literal(name), [_literal(name)])
    return builder.build()


def _literal(text: object) -> str:
    if not isinstance(text, str):
        raise PromptError(f"a phrase is a string, got {text!r}")
    name = tidy(text)
    if _is_empty(name):
        raise PromptError(f"the phrase {text!a} is empty: leave it out, or name a thing")
    return name


def _tokens(prompt: str) -> list[_Token]:
    """Each character with its role; quoted characters are plain text."""
    tokens: list[_Token] = []
    at = 0
    while at < len(prompt):
        char = prompt[at]
        before = prompt[at - 1] if at else " "
        # A quote after a letter or a digit is an inch mark or the like, not an opening quote.
        if char in _QUOTES and not before.isalnum():
            end = prompt.find(_QUOTES[char], at + 1)
            if end < 0:
                raise PromptError(f"a quote is never closed: {prompt[at : at + 40]}")
            tokens += [_Token(inner) for inner in prompt[at + 1 : end]]
            at = end + 1
            continue
        decimal = char in ".．" and before.isdigit() and prompt[at + 1 : at + 2].isdigit()
        if char in _SEPARATORS and not decimal:
            tokens.append(_Token(char, "separator"))
        else:
            tokens.append(_Token(char, _MARKS.get(char, "")))
        at += 1
    return tokens


def _split(tokens: Sequence[_Token], mark: str) -> list[list[_Token]]:
    parts: list[list[_Token]] = [[]]
    for token in tokens:
        if token.mark == mark:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _text(tokens: Iterable[_Token]) -> str:
    """The text of some tokens as it is reported; "" if a model would read nothing in it."""
    text = tidy("".join(token.text for token in tokens))
    return "" if _is_empty(text) else text


def _entries(tokens: Sequence[_Token]) -> list[list[_Token]]:
    return [entry for entry in _split(tokens, "separator") if _text(entry)]


def _read_entry(entry: list[_Token], builder: _Builder) -> None:
    """Adds one entry, ``["!"] [class ":"] phrase ("|" phrase)*``, to the builder."""
    source = _text(entry)
    first = next(n for n, token in enumerate(entry) if _IGNORABLE.sub("", token.text).strip())
    entry = entry[first:]
    negative = entry[0].mark == "!"
    body = entry[1:] if negative else entry
    head, *tail = _split(body, ":")
    if len(tail) > 1:
        raise PromptError(f'"{source}" has more than one ":": separate entries, or quote a phrase')
    phrases = [text for part in _split(tail[0] if tail else head, "|") if (text := _text(part))]
    name = _text(head) if tail else next(iter(phrases), "")
    if not phrases or not name:
        raise PromptError(f'"{source}" lacks a {"phrase" if name else "name"}: {_EXAMPLE}')
    builder.add(name, phrases, negative=negative)
