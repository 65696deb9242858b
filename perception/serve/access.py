"""Who may ask: which hosts, which origins, with which token."""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

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
