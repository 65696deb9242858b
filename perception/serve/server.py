"""Running the service until it is interrupted."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from perception.errors import ServeError
from perception.serve.connections import Connection

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
