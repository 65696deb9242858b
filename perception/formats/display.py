"""One result as a file, by its suffix, and as what a notebook or an image viewer shows."""

from __future__ import annotations

import base64
import os
import sys
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageShow

from perception.coco.write import to_coco, write_coco
from perception.errors import OutputError
from perception.formats.csv import write_csv
from perception.imaging.read import printable
from perception.instances import Instances
from perception.runtime.files import whole_file

_IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_QUALITY = 95
"""Of a saved JPEG or WebP: thin colored lines and letters show a lower one."""

_SHOWN_SIDE = 800
"""Pixels of the longer side of an overlay in a notebook, which keeps it in its file."""

_SHOWN_ROWS = 50
"""Instances in a notebook's table."""


def save(result: Instances, path: str | os.PathLike[str]) -> Path:
    """Write the overlay, a COCO file or a table, as the path's suffix says; return the path.

    Raises:
        OutputError: For another suffix, or if the file can't be written.
        DataError: If the overlay is asked for and the image wasn't kept.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise OutputError(f"save needs the path of a file, got {path!r}")
    path = Path(os.fsdecode(path))
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_coco(to_coco([result]), path)
    elif suffix == ".csv":
        write_csv([result], path)
    elif suffix in _IMAGES:
        overlay = result.overlay()
        with whole_file(path) as file:
            overlay.save(file, _IMAGES[suffix], quality=_QUALITY)
    else:
        raise OutputError(
            f"{printable(str(path))}: a result is saved as {', '.join(_IMAGES)} (the overlay), "
            ".json (COCO) or .csv: give the file one of these suffixes"
        )
    return path


def show(result: Instances) -> None:
    """Show the overlay in the notebook that this runs in, else in the system's image viewer.

    Raises OutputError where there is no viewer.
    """
    overlay = result.overlay()
    display = _notebook_display()
    if display is not None:
        display(overlay)
    elif not ImageShow.show(overlay):
        raise OutputError(
            'there is no image viewer here: result.save("overlay.png") writes the overlay'
        )


def png(result: Instances) -> bytes | None:
    """Return the overlay as the bytes of a PNG, scaled down; None where the image wasn't kept."""
    return _encoded(result, "PNG")


def html(result: Instances) -> str:
    """Return the overlay, scaled down, and a table of the instances as HTML."""
    height, width = result.image_hw
    parts = [f"<p>{len(result)} {'instance' if len(result) == 1 else 'instances'}"]
    parts.append(f" in {width} x {height} pixels</p>")
    overlay = _encoded(result, "JPEG")
    if overlay is not None:
        data = base64.b64encode(overlay).decode("ascii")
        parts.append(f'<img alt="overlay" src="data:image/jpeg;base64,{data}">')
    if len(result):
        cells = "".join(f"<th>{name}</th>" for name in ("", "label", "score", "box", "area"))
        parts.append(f"<table><thead><tr>{cells}</tr></thead><tbody>")
        parts += [_row(n, result) for n in range(min(len(result), _SHOWN_ROWS))]
        parts.append("</tbody></table>")
    if len(result) > _SHOWN_ROWS:
        parts.append(f"<p>and {len(result) - _SHOWN_ROWS} more</p>")
    return "".join(parts)


def _row(n: int, result: Instances) -> str:
    (instance,) = result[n]
    score = "" if np.isnan(instance.score) else f"{instance.score:.2f}"
    box = ", ".join(f"{side:.6g}" for side in instance.box.tolist())
    cells = (n, instance.label, score, box, f"{instance.area:.6g}")
    return f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"


def _encoded(result: Instances, kind: str) -> bytes | None:
    if result.image is None:
        return None
    overlay = result.overlay()
    overlay.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    overlay.save(file, kind)
    return file.getvalue()


def _notebook_display() -> Any:
    """Return IPython's ``display`` where a notebook's kernel runs this, else None."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return ipython.display.display if getattr(shell, "kernel", None) is not None else None
