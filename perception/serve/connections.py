"""Connections that cost little: who says nothing, or too slowly, is let go.

Between a connection and its first token anybody can hold one. So each phase of a request has a
time, and of those that have shown nothing yet only a few are kept: the oldest makes room for the
next, and whoever was admitted before keeps its place.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from perception.serve.middleware import HEADERS, is_admitted

HEAD_SECONDS = 10.0
"""From the beginning of a connection, or the end of a response, to a request's whole head."""

BODY_SECONDS = 20.0
"""For a request's body, and more with what has come."""

BODY_RATE = 10_000
"""Bytes of a body for one more second."""

LINGER_SECONDS = 5.0
"""For the rest of a body that nobody wants, and for what is left to be written at the end."""

STALL_SECONDS = 30.0
"""Until a client takes what is sent to it."""

MAX_UNPROVEN = 64
"""Connections that no request was admitted on."""

MAX_CONNECTIONS = 400


class Phase(NamedTuple):
    """Where a connection is. requests: how many were answered on it before."""

    name: str
    requests: int


class Connection(H11Protocol):
    """One connection of uvicorn, which knows for how long it has been at what it is at."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._requests = self._bytes = self._bytes_before = 0
        self._phase, self._since = Phase("head", 0), time.monotonic()
        self._stalled: float | None = None
        self._was_admitted = False

    def connection_made(self, transport: Any) -> None:
        """Take a connection, and let go of the oldest where there are too many."""
        super().connection_made(transport)
        # One that was let go is among them until the loop comes to it.
        others = sorted(
            (
                one
                for one in self.connections
                if isinstance(one, Connection)
                and one is not self
                and not one.transport.is_closing()
            ),
            key=lambda one: one._since,
        )
        unproven = [one for one in others if not one.is_proven]
        idle = [one for one in others if one._now_at().name == "head"]
        if len(unproven) >= MAX_UNPROVEN:
            unproven[0].let_go()
        elif len(others) >= MAX_CONNECTIONS:
            (idle[0] if idle else self).let_go()

    @property
    def is_proven(self) -> bool:
        """Whether a request was admitted on it."""
        return self._was_admitted or (self.scope is not None and is_admitted(self.scope))

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        self._bytes += len(data)
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        self._requests += 1
        self._was_admitted = self.is_proven
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client is slower than what is sent to it."""
        self._stalled = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._stalled = None
        super().resume_writing()

    def let_go_if_overdue(self, now: float) -> None:
        """End the connection if its phase has taken too long; now: of the monotonic clock."""
        phase = self._now_at()
        if phase != self._phase:
            self._phase, self._since, self._bytes_before = phase, now, self._bytes
        seconds = {
            "head": HEAD_SECONDS,
            "body": BODY_SECONDS + (self._bytes - self._bytes_before) / BODY_RATE,
            "rest": LINGER_SECONDS,
            "closing": LINGER_SECONDS,
        }.get(phase.name)
        is_overdue = seconds is not None and now - self._since > seconds
        if is_overdue or (self._stalled is not None and now - self._stalled > STALL_SECONDS):
            self.let_go()

    def let_go(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def _now_at(self) -> Phase:
        if self.transport.is_closing():
            return Phase("closing", self._requests)
        if self.cycle is None or self.cycle.response_complete:
            is_rest = self.conn.their_state is h11.SEND_BODY
            return Phase("rest" if is_rest else "head", self._requests)
        is_body = self.conn.their_state is h11.SEND_BODY
        return Phase("body" if is_body else "response", self._requests)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as the service answers everything."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # Another answer is on its way already.
            return
        body = json.dumps({"error": msg}).encode()
        headers = [
            *HEADERS.items(),
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        events = (
            h11.Response(status_code=400, headers=encoded, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
