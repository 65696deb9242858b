"""Sizes of files as people read them."""


def readable(size: int) -> str:
    """Bytes in the unit that suits them: "375 MB"."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            value = size / scale
            return f"{value:.2f} {unit}" if unit == "GB" else f"{value:.0f} {unit}"
    return f"{size} bytes"
