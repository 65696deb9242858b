"""A web server on this machine that has files, takes up where a download ended, and misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What the server answers.

    files: by path; cut: paths whose connection ends after so many bytes, each time; status: paths
    that are refused, with a status; redirect: paths that lead elsewhere; ranges: whether it can
    begin in the middle; kind: of the content. asked: (method, path, headers) of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    redirect: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    kind: str = "application/octet-stream"
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:  # the library's name
            path = self.path.split("?")[0]
            site.asked.append((self.command, path, dict(self.headers)))
            if path in site.redirect:
                self._head(302, {"Location": site.redirect[path], "Content-Length": "0"})
            elif path in site.status:
                self._head(site.status[path], {"Content-Length": "0", "Retry-After": "7"})
            elif path not in site.files:
                self._head(404, {"Content-Length": "0"})
            else:
                self._send(path, site.files[path])

        def _send(self, path: str, data: bytes) -> None:
            wanted = self.headers.get("Range")
            start = int(wanted[6:-1]) if wanted and site.ranges else 0
            if start >= len(data) and start:
                self._head(416, {"Content-Length": "0"})
                return
            rest = data[start:]
            self._head(206 if start else 200, {"Content-Length": str(len(rest))})
            cuts = site.cut.get(path)
            self.wfile.write(rest[: cuts.pop(0)] if cuts else rest)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": site.kind, **headers}.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Answers for a site on a free port while the block runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(site)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        site.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield site
        finally:
            server.shutdown()


def add_repository(
    site: Site, name: str, files: dict[str, bytes], *, commit: str, large: dict[str, str]
) -> None:
    """Adds what the hub's interface says of a repository, and its files.

    large: the sha256 of files that the hub keeps as LFS.
    """
    siblings = [
        {
            "rfilename": file,
            "size": len(data),
            **(
                {"lfs": {"sha256": large[file], "size": len(data), "pointerSize": 1}}
                if file in large
                else {}
            ),
        }
        for file, data in files.items()
    ]
    about = json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()
    for path in (f"/api/models/{name}", f"/api/models/{name}/revision/{commit}"):
        site.files[path] = about
    for file, data in files.items():
        site.files[f"/{name}/resolve/{commit}/{file}"] = data
