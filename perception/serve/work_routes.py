"""Routes of work: the session, prompts, classes, saving, uploads."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
import unicodedata
import uuid
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from perception.errors import ImageError, OutputError
from perception.imaging.discover import SUFFIXES
from perception.imaging.read import printable
from perception.serve.encoder import to_half
from perception.serve.image_routes import Name, read_first, waited
from perception.serve.page_files import page_folder, runtime_files
from perception.serve.responses import Json
from perception.serve.schemas import ClassBody, ClickBody, TextBody, mark_to_json
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

    Raises ImageError for what is no image, HTTPException for a form of another kind, OutputError
    if it can't be written.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise HTTPException(415, "an upload is a form (multipart/form-data) with one file")
    async with request.form(max_files=1, max_fields=8) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise HTTPException(422, "the form has no file")
        # One at a time: others' images are read meanwhile.
        taken_in = service.uploads.submit(_take_in, files[0], service)
        return await asyncio.shield(asyncio.wrap_future(taken_in))


def _take_in(upload: UploadFile, service: Service) -> str:
    content_type = (upload.content_type or "").partition(";")[0].strip().lower()
    if content_type not in _SUFFIX_OF:
        raise HTTPException(415, "not an image's content type; give a JPEG, PNG or WebP file")
    folder = service.run.folder
    # Hidden, so that nobody takes it for one of the images meanwhile.
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


def work_routes(service: Service) -> APIRouter:
    """What a hand does."""
    routes = APIRouter(prefix="/api")

    @routes.get("/session")
    def session() -> Response:
        return Json(_session(service))

    @routes.post("/click")
    async def click(picture: Name, body: ClickBody) -> Response:
        await run_in_threadpool(body.prompt)  # A prompt that makes no sense waits for nothing.
        await read_first(service, picture)
        candidates = await waited(service.prompts.submit(service.click, picture, body))
        logits = np.stack([one.low_res.logits for one in candidates])
        about = [
            {"window": list(one.window), "quality": round(one.quality, 6)} for one in candidates
        ]
        headers = {"x-candidates": json.dumps(about, separators=(",", ":"))}
        return Response(
            to_half(logits).tobytes(), media_type="application/octet-stream", headers=headers
        )

    @routes.post("/text")
    async def text(picture: Name, body: TextBody) -> Response:
        await read_first(service, picture)
        asked = await run_in_threadpool(service.text, picture, body.text, body.threshold)
        answer = await waited(asked)
        return Json(
            {
                "instances": [mark_to_json(mark) for mark in answer.marks],
                "absent": answer.absent,
                "why": answer.why,
                "classes": _classes(service),
            }
        )

    @routes.post("/classes")
    def classes(body: ClassBody) -> Response:
        service.add_class(body.name)
        return Json({"classes": _classes(service)})

    @routes.post("/save")
    def save() -> Response:
        instances, pictures = service.save()
        return Json(
            {
                "output": printable(service.out.name),
                "instances": instances,
                "pictures": pictures,
            }
        )

    @routes.get("/coco")
    def coco() -> Response:
        # Written whole, as --out is, and sent from there: it may be larger than memory.
        folder = Path(tempfile.mkdtemp(prefix="perception-"))
        path = folder / "annotations.json"
        service.save(path)
        return FileResponse(
            path,
            media_type="application/json",
            filename=printable(service.out.name),
            background=BackgroundTask(_remove, path),
        )

    @routes.post("/upload")
    async def upload(request: Request) -> Response:
        return Json({"name": await receive_upload(request, service)})

    return routes


def _session(service: Service) -> dict[str, Any]:
    served = service.served
    _, total = service.listing(limit=0)
    return {
        "folder": printable(service.run.folder.name),
        "model": {
            "detector": served.model.detector.name,
            "segmenter": served.segmenter.name,
            "side": served.segmenter.side,
            "embedding": served.segmenter.embedding_shape,
            "maskSize": served.mask_size,
            "predictor": served.model.predictor.kind,
        },
        "inPage": served.decoder is not None and bool(runtime_files(page_folder())),
        "classes": _classes(service),
        "pictures": total,
        "output": printable(service.out.name),
        "readOnly": False,
    }


def _classes(service: Service) -> list[dict[str, Any]]:
    return [{"id": n, "name": name} for n, name in enumerate(service.classes, start=1)]


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.rmdir(path.parent)
