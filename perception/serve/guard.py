"""The door of the service: every request passes here first, every answer last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perception.serve.access import METHODS, Access

MOST_UPLOAD = 64 << 20
"""Bytes of a picture that is uploaded."""

MOST_BODY = 32 << 20
"""Bytes of any other request."""

_ADMITTED = "perception.admitted"
_FORM = 64 << 10
"""What a form has beside its file."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
        "connect-src 'self'; img-src 'self' blob: data:; style-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    # Threads of WebAssembly need memory that only isolated pages may share.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class Guard:
    """Refuses foreign hosts, foreign pages, missing tokens and large bodies; adds the headers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # A web socket: there are none here.
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send, is_head=scope["method"] == "HEAD")
        try:
            refused = self._refuse(scope)
            if refused is not None:
                await refused(scope, receive, answer.send)
                return
            scope.setdefault("state", {})[_ADMITTED] = True
            # Routes know GET alone: whoever asks for the head gets that of the same answer.
            asked = {**scope, "method": "GET"} if answer.is_head else scope
            await self._app(asked, _limited(receive, _room(scope)), answer.send)
        except asyncio.CancelledError:
            # The service ends before this is answered.
            await self._instead(answer, scope, receive, 503, "the service is ending; start it anew")
            raise
        except Exception:
            why = "the service failed at this; its terminal says how"
            await self._instead(answer, scope, receive, 500, why)
            raise

    @staticmethod
    async def _instead(
        answer: _Answer, scope: Scope, receive: Receive, status: int, why: str
    ) -> None:
        """Answers, if nothing was answered yet."""
        if not answer.is_begun:
            await _error(status, why)(scope, receive, answer.send)

    def _refuse(self, scope: Scope) -> Response | None:
        headers, method = Headers(scope=scope), scope["method"]
        if not self._access.allows_host(headers.get("host", "")):
            return _error(421, "this service isn't called that; use the address that it printed")
        if method not in METHODS:
            allow = {"allow": ", ".join(sorted(METHODS))}
            return _error(405, f"{method}: no such method here", allow)
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if scope["path"] == "/" and method == "GET" and shown and self._access.is_token(shown[0]):
            return self._welcome()
        if not self._access.allows_token(headers):
            return _error(401, "a token is needed: open the address that perception serve printed")
        # A link may lead to the page from anywhere; all else is for the page alone.
        if scope["path"] != "/" and not self._access.allows_origin(method, headers):
            return _error(403, "asked by a page of another site")
        if _declared(headers) > _room(scope):
            return _error(413, _TOO_LARGE)
        return None

    def _welcome(self) -> Response:
        """Keeps the token in the browser and takes it out of the address."""
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._access.cookie, self._access.token, httponly=True, samesite="strict"
        )
        return response


_TOO_LARGE = f"too much: a picture has at most {MOST_UPLOAD >> 20} MB, all else {MOST_BODY >> 20}"


def _room(scope: Scope) -> int:
    return MOST_UPLOAD + _FORM if scope["path"] == "/api/upload" else MOST_BODY


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _limited(receive: Receive, room: int) -> Receive:
    """Stops reading a body of more bytes than there is room for, whatever it says about itself."""

    async def read() -> Message:
        nonlocal room
        message = await receive()
        room -= len(message.get("body", b""))
        if room < 0:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return read


class _Answer:
    """An answer on its way out: it gets the headers, and loses its body where only these count."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self._send, self.is_head, self.is_begun = send, is_head, False

    async def send(self, message: Message) -> None:
        """Passes a part of it on."""
        if message["type"] == "http.response.start":
            self.is_begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        elif self.is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def is_admitted(scope: Mapping[str, Any]) -> bool:
    """Whether a request has passed the guard."""
    return bool(scope.get("state", {}).get(_ADMITTED))


def _error(status: int, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Whoever is refused isn't listened to any longer: its body may not end."""
    content: dict[str, Any] = {"error": why}
    return JSONResponse(content, status, {"connection": "close", **(headers or {})})
