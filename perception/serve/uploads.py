"""Pictures that come through the page: checked first, then put into the folder under a new name."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import unicodedata
import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from perception.errors import ImageError, OutputError
from perception.inputs import SUFFIXES
from perception.serve.service import Service

_SUFFIX_OF = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/tiff": ".tif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "image/x-portable-pixmap": ".ppm",
}
_MOST_CHARACTERS = 80


async def receive_upload(request: Request, service: Service) -> str:
    """The one file of a form, put into the folder; returns its name there.

    Raises ImageError for what is no picture, HTTPException for a form of another kind, OutputError
    if it can't be written.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "an upload is a form (multipart/form-data) with one file")
    async with request.form(max_files=1, max_fields=8) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(422, "the form has no file")
        # One at a time: others' pictures are read meanwhile.
        taken_in = service.uploads.submit(_take_in, files[0], service)
        return await asyncio.shield(asyncio.wrap_future(taken_in))


def _take_in(upload: UploadFile, service: Service) -> str:
    content_type = (upload.content_type or "").partition(";")[0].strip().lower()
    if content_type not in _SUFFIX_OF:
        raise HTTPException(415, "not a picture's content type; give a JPEG, PNG or WebP file")
    folder = service.run.folder
    # Hidden, so that nobody takes it for one of the pictures meanwhile.
    part = folder / f".{uuid.uuid4().hex}.part"
    try:
        try:
            with part.open("xb") as file:
                shutil.copyfileobj(upload.file, file)
            try:
                service.pictures.read_file(part)
            except ImageError as error:
                raise ImageError(f"the uploaded file: {_with_remedy(str(error))}") from None
            path = _place(part, folder, safe_name(upload.filename or "", content_type))
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OutputError(f"the folder can't be written to ({why})") from None
    service.add_picture(path.name)
    return path.name


def _with_remedy(reason: str) -> str:
    """What a reader says of a file, but for a limit that is ours and can't be raised."""
    return reason.replace("raise the limit (max_pixels)", "copy it into the folder")


def safe_name(name: str, content_type: str) -> str:
    """A file name of letters, digits, - and _ for an upload that calls itself ``name``."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    stem, suffix = os.path.splitext(unicodedata.normalize("NFC", last))
    stem = re.sub(r"[^\w]+", "-", stem).strip("-_")[:_MOST_CHARACTERS]
    while len(stem.encode()) > 2 * _MOST_CHARACTERS:
        stem = stem[:-1]
    known = suffix.lower() in SUFFIXES
    return f"{stem or 'picture'}{suffix.lower() if known else _SUFFIX_OF[content_type]}"


def _place(part: Path, folder: Path, name: str) -> Path:
    """Gives a file its name, or the next one that is free; it never takes another's place."""
    stem, suffix = os.path.splitext(name)
    n = 1
    while True:
        path = folder / (name if n == 1 else f"{stem}-{n}{suffix}")
        try:
            path.open("xb").close()
        except FileExistsError:
            n += 1
            continue
        part.replace(path)
        return path
