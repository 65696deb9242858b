"""Work: what is at hand, prompts, classes, saving."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from perception.images import printable
from perception.serve.answers import Json
from perception.serve.bodies import ClassBody, ClickBody, TextBody, mark_to_json
from perception.serve.encoder import to_half
from perception.serve.page_files import page_folder, runtime_files
from perception.serve.picture_routes import Name, read_first, waited
from perception.serve.service import Service
from perception.serve.uploads import receive_upload


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
