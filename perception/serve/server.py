"""The service as a web application, run until it is interrupted."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from perception.errors import ServeError
from perception.serve.connections import Connection
from perception.serve.image_routes import picture_routes
from perception.serve.middleware import Access, Guard
from perception.serve.opening import ServedModel
from perception.serve.page_files import find_file, page_files, page_folder, runtime_files
from perception.serve.responses import explain_errors, file_answer
from perception.serve.service import Service
from perception.serve.work_routes import work_routes


def page_routes(served: ServedModel) -> APIRouter:
    """Files that don't depend on the run."""
    routes, page = APIRouter(), page_folder()
    graphs = {"preparer.onnx": served.preparer, "decoder.onnx": served.decoder}

    @routes.get("/")
    def index(request: Request) -> Response:
        return file_answer(request, find_file(page_files(page), "index.html"))

    @routes.get("/favicon.ico")
    def no_icon() -> Response:
        return Response(status_code=204)  # Browsers ask for one, whatever the page says.

    @routes.get("/page/{name}")
    def page_file(request: Request, name: str) -> Response:
        return file_answer(request, find_file(page_files(page), name))

    @routes.get("/runtime/{name}")
    def runtime_file(request: Request, name: str) -> Response:
        return file_answer(request, find_file(runtime_files(page), name))

    @routes.get("/models/{name}")
    def graph(request: Request, name: str) -> Response:
        return file_answer(request, graphs.get(name))

    return routes


def build_app(service: Service, access: Access) -> ASGIApp:
    """All routes behind the guard."""
    # No pages about the interface: they would load scripts from elsewhere.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    explain_errors(app)
    app.include_router(page_routes(service.served))
    app.include_router(picture_routes(service))
    app.include_router(work_routes(service))
    return Guard(app, access)


_SECONDS_TO_END = 5


def listen(host: str, port: int) -> socket.socket:
    """A socket for a service; ServeError if it can't be had. port: 0 takes any that is free."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ServeError(
            f"{host}:{port}: can't be listened on ({why}); choose another --port or --host"
        ) from None


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Answers until the process is interrupted or told to end, then finishes what it is at."""
    make_server(app).run(sockets=[listener])


def make_server(app: ASGIApp) -> uvicorn.Server:
    """What answers; it ends when its ``should_exit`` is set."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_level="critical",  # What goes wrong is answered; what the end cuts off is expected.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_END,
        lifespan="off",
    )
    return _Server(config)


class _Server(uvicorn.Server):
    async def on_tick(self, counter: int) -> bool:
        """Lets go of connections that are overdue, once a second."""
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.let_go_if_overdue(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ends at a signal without raising it again: the run is still to be closed."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self.handle_exit) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
