"""Forms of answers: errors in one line, files that a browser may keep until they change."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from perception.errors import CocoError, ImageError, PerceptionError, PromptError
from perception.runtime.onnx_session import runtime_errors
from perception.serve.page_files import CONTENT_TYPES
from perception.serve.service import NoSuchPictureError


class Json(Response):
    """JSON in ASCII, which also holds names that aren't text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


_LONGEST = 200


def error(status: int, why: object, **more: Any) -> Json:
    """``{"error": "one line"}`` and whatever belongs to it."""
    return Json({"error": " ".join(str(why).split()), **more}, status)


def explain_errors(app: FastAPI) -> None:
    """Makes every error of an app an answer in one line."""

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, problem: HTTPException) -> Response:
        answer = error(problem.status_code, problem.detail)
        answer.headers.update(problem.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, problem: RequestValidationError) -> Response:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")[:100]
        return error(422, f"{where}: {first['msg']}" if where else first["msg"])

    @app.exception_handler(PerceptionError)
    async def _ours(_request: Request, problem: PerceptionError) -> Response:
        if isinstance(problem, NoSuchPictureError):
            return error(404, problem)
        blamed = isinstance(problem, (PromptError, ImageError, CocoError))
        return error(422 if blamed else 500, problem)

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, problem: Exception) -> Response:
        what = f"{request.method} {request.url.path}"
        logging.getLogger("perception.serve").error("%r failed", what, exc_info=problem)
        return error(500, "the service failed at this; its terminal says how")

    @app.exception_handler(RuntimeError)
    async def _model(_request: Request, problem: RuntimeError) -> Response:
        return error(500, f"the model failed on it: {str(problem)[:_LONGEST]}")

    for kind in runtime_errors():
        app.exception_handler(kind)(_model)

    @app.exception_handler(MemoryError)
    async def _memory(_request: Request, _problem: MemoryError) -> Response:
        return error(507, "not enough memory for this image; close other programs")


def unchanged(request: Request, tag: str) -> Response | None:
    """The answer to a browser that has what ``tag`` stands for; None if it hasn't."""
    if f'"{tag}"' not in request.headers.get("if-none-match", ""):
        return None
    return Response(status_code=304, headers=kept(tag))


def kept(tag: str) -> dict[str, str]:
    """Headers of what a browser may keep, if it asks each time whether it is still so."""
    return {"etag": f'"{tag}"', "cache-control": "private, no-cache"}


def file_answer(request: Request, path: Path | None) -> Response:
    """A file of the page, or 404."""
    if path is None or not path.is_file():
        return error(404, "no such file here")
    status = path.stat()
    tag = f"{status.st_size:x}-{status.st_mtime_ns:x}"
    content_type = CONTENT_TYPES.get(path.suffix, "application/octet-stream")
    return unchanged(request, tag) or FileResponse(
        path, headers={**kept(tag), "content-type": content_type}
    )
