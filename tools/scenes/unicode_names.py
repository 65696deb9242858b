"""The names of Unicode's pictures: they teach the vocabulary, and stand for what is absent."""

from __future__ import annotations

import unicodedata

# The blocks whose characters are named things: symbols, dingbats, emoji.
BLOCKS = ((0x2300, 0x27C0), (0x1F300, 0x1FB00))


def character_names() -> dict[str, str]:
    """Character -> its name in lower case, of all that this Python knows in the blocks."""
    characters = [chr(code) for low, high in BLOCKS for code in range(low, high)]
    return {c: name.lower() for c in characters if (name := unicodedata.name(c, ""))}
