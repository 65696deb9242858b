"""Routes about images: the list, one of them, its file, embedding and annotations; open tabs."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from perception.errors import ImageError
from perception.ops.windows import Tile
from perception.runs.records import ListedPicture, MarkedContent
from perception.serve.images import to_image_file
from perception.serve.responses import Json, error, kept, unchanged
from perception.serve.schemas import CountsBody, MarksBody, TabBody, checked_window, mark_to_json
from perception.serve.service import PictureState, Service

Name = Annotated[str, Query(max_length=4096)]
WindowText = Annotated[str, Query(pattern=r"^(-?\d{1,6}(,-?\d{1,6}){3})?$")]
T = TypeVar("T")
_MAX_AT_ONCE = 1000


def picture_routes(service: Service) -> APIRouter:
    """What is about the images of a run."""
    routes, tabs = APIRouter(prefix="/api"), Tabs()

    def _tag(content: MarkedContent) -> str:
        """Of what this model makes of an image."""
        return f"{content.uid}-{service.encoder.model_key[:16]}"

    @routes.get("/pictures")
    def pictures(
        after: Name = "",
        limit: Annotated[int, Query(ge=1, le=_MAX_AT_ONCE)] = 500,
        offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
        contains: Name = "",
    ) -> Response:
        rows, total = service.listing(after=after, limit=limit, offset=offset, contains=contains)
        return Json({"pictures": [_row(*row) for row in rows], "total": total})

    @routes.get("/place")
    def place(picture: Name, contains: Name = "") -> Response:
        return Json({"place": service.place(picture, contains)})

    @routes.post("/counts")
    def counts(body: CountsBody) -> Response:
        return Json({"counts": service.results.counts(body.pictures)})

    @routes.get("/picture")
    async def picture(picture: Name) -> Response:
        await read_first(service, picture)
        return Json(_state(await run_in_threadpool(service.open, picture)))

    @routes.get("/image")
    async def image(request: Request, picture: Name) -> Response:
        await read_first(service, picture)
        tag = (await run_in_threadpool(service.content, picture)).uid
        if (same := unchanged(request, tag)) is not None:
            return same
        found = await waited(await run_in_threadpool(service.pictures.reading, picture))
        threads = service.pixel_threads(found.image)
        file = await waited(threads.submit(to_image_file, found.image, picture))
        return Response(file.raw, media_type=file.content_type, headers=kept(found.content.uid))

    @routes.get("/embedding")
    async def embedding(
        request: Request, picture: Name, ahead: bool = False, window: WindowText = ""
    ) -> Response:
        await read_first(service, picture)
        content = await run_in_threadpool(service.content, picture)
        crop = read_window(window, content.image_hw)
        tag = _tag(content) + window
        if (same := unchanged(request, tag)) is not None:
            return same
        features = await waited(
            await run_in_threadpool(service.features, picture, window=crop, ahead=ahead)
        )
        shape = ",".join(str(n) for n in features.shape)
        headers = {**kept(tag), "x-embedding-shape": shape}
        return Response(features.tobytes(), media_type="application/octet-stream", headers=headers)

    @routes.get("/cells")
    async def cells(request: Request, picture: Name, window: WindowText = "") -> Response:
        await read_first(service, picture)
        content = await run_in_threadpool(service.content, picture)
        crop = read_window(window, content.image_hw)
        tag = _tag(content) + window
        if (same := unchanged(request, tag)) is not None:
            return same
        found = await waited(await run_in_threadpool(service.pictures.reading, picture))
        threads = service.pixel_threads(found.image)
        shown, bins, (row, column) = await waited(threads.submit(service.cells, picture, crop))
        shape = f"{shown.shape[0]},{shown.shape[1]},{row},{column}"
        headers = {**kept(tag), "x-cells-shape": shape}
        body = bins.astype("<u2").tobytes() + shown.tobytes()
        return Response(body, media_type="application/octet-stream", headers=headers)

    @routes.put("/marks")
    async def marks(picture: Name, body: MarksBody) -> Response:
        await read_first(service, picture)
        return await run_in_threadpool(_put, service, picture, body)

    @routes.post("/tab")
    def tab(picture: Name, body: TabBody) -> Response:
        name = service.find(picture).name
        if body.leaving:
            tabs.leave(body.tab)
            return Json({"others": 0})
        return Json({"others": tabs.others(name, body.tab)})

    return routes


def read_window(text: str, image_hw: tuple[int, int]) -> Tile | None:
    """The crop "x0,y0,x1,y1" of an image of (H, W), None for ""; PromptError for another one."""
    return checked_window(Tile(*map(int, text.split(","))), image_hw) if text else None


async def waited(future: Future[T]) -> T:
    """What comes of a future. Others may wait for it too: whoever leaves doesn't take it along."""
    return await asyncio.shield(asyncio.wrap_future(future))


async def read_first(service: Service, name: str) -> None:
    """Waits, without a thread, until it is known what an image is, or that it can't be read."""
    name = (await run_in_threadpool(service.find, name)).name
    with suppress(ImageError):  # Whoever asks for its content gets this error again.
        reading = await run_in_threadpool(service.pictures.coming, name)
        if reading is not None:
            await waited(reading)


def _put(service: Service, picture: str, body: MarksBody) -> Response:
    state = service.open(picture, with_marks=False)
    if state.failed:
        raise ImageError(f"{picture}: {state.failed}")
    sent = [mark.mark(state.image_hw) for mark in body.marks]
    revision = service.mark(picture, body.revision, sent)
    if revision is not None:
        return Json({"revision": revision})
    stored = service.open(picture)
    return error(
        409,
        "another tab was faster: this image's marks have changed meanwhile",
        revision=stored.revision,
        marks=[mark_to_json(mark) for mark in stored.marks],
    )


def _row(picture: ListedPicture, marks: int | None) -> dict[str, Any]:
    return {
        "name": picture.name,
        "marks": marks,
        "edited": picture.revision > 0,
        "state": picture.state,
    }


def _state(state: PictureState) -> dict[str, Any]:
    return {
        "name": state.name,
        "width": state.image_hw[1],
        "height": state.image_hw[0],
        "uid": state.uid,
        "revision": state.revision,
        "marks": [mark_to_json(mark) for mark in state.marks],
        "failed": state.failed,
    }


_SECONDS = 15.0
_MAX = 10_000


class Tabs:
    """Tabs say every few seconds that they live; for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._seen: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def others(self, picture: str, tab: str) -> int:
        """Notes that a tab has an image open; returns how many other living ones have, too."""
        now = self._clock()
        with self._lock:
            self._seen[tab] = (picture, now)
            self._seen.move_to_end(tab)
            while len(self._seen) > _MAX or self._oldest() < now - _SECONDS:
                self._seen.popitem(last=False)
            return sum(open_one == picture for open_one, _ in self._seen.values()) - 1

    def leave(self, tab: str) -> None:
        """Note that a tab goes away: reloaded, closed, or on another site."""
        with self._lock:
            self._seen.pop(tab, None)

    def _oldest(self) -> float:
        return next(iter(self._seen.values()))[1]
