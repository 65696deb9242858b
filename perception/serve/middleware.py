"""Request-validation middleware: hosts, origins, tokens, sizes, headers."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_UPLOAD = 64 << 20
"""Bytes of an image that is uploaded."""

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


_TOO_LARGE = f"too much: an image has at most {MOST_UPLOAD >> 20} MB, all else {MOST_BODY >> 20}"


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


SAFE_METHODS = frozenset({"GET", "HEAD"})
_CHANGING_METHODS = frozenset({"POST", "PUT"})
METHODS = SAFE_METHODS | _CHANGING_METHODS


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a service on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Access:
    """The rules. host: where the service listens; token: what everybody must show, "" for none.

    cookie: the name under which a browser keeps the token.
    """

    host: str
    token: str = ""
    cookie: str = "perception"

    def allows_host(self, header: str) -> bool:
        """Whether a request's Host may be this service.

        A page of another site whose name was made to lead here keeps its name. So names are only
        those of the machine; beyond loopback its addresses, too, which a name can't imitate.
        """
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if is_loopback(name) or name == self.host.lower():
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            own = socket.gethostname().lower()
            return name in {own, f"{own}.local", socket.getfqdn().lower()}
        return True

    def allows_origin(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from this service's own page, or from no page at all."""
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if method in SAFE_METHODS or origin is None:
            return True
        scheme, _, netloc = origin.lower().partition("://")
        return scheme in ("http", "https") and netloc == headers.get("host", "").lower()

    def allows_token(self, headers: Mapping[str, str]) -> bool:
        """Whether a request shows the token, as the browser's cookie or as a bearer's."""
        if not self.token:
            return True
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        return self.is_token(bearer) or self.is_token(self._from_cookie(headers))

    def is_token(self, shown: str) -> bool:
        """Compares in a time that says nothing about where they differ."""
        return bool(self.token) and hmac.compare_digest(shown.encode(), self.token.encode())

    def _from_cookie(self, headers: Mapping[str, str]) -> str:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return ""
        return cookies[self.cookie].value if self.cookie in cookies else ""
