"""Clients that click at a given rate, for ``bench_click.py``: prints milliseconds as JSON.

    python tools/bench_click/clients.py ADDRESS PICTURE RATE SECONDS

A click has its time, kept or not: an answer that is late makes those after it late. RATE 0 is one
client that clicks again as soon as it has its answer.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

CLIENTS = 8
SETTLE = 1.0


class Client:
    """One connection that is kept open."""

    def __init__(self, address: str, picture: str, hw: tuple[int, int], seed: int) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        self._headers = {"Content-Type": "application/json", "Origin": address}
        self._path = f"/api/click?picture={quote(picture)}"
        self._hw, self._draw = hw, random.Random(seed)  # noqa: S311
        self.bytes = 0

    def click(self) -> None:
        x, y = (side * self._draw.uniform(0.05, 0.95) for side in self._hw[::-1])
        body = json.dumps({"points": [[x, y]], "labels": [1], "box": None, "earlier": None})
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {raw[:200]!r}")
        self.bytes = len(body) + len(raw)


def at_a_rate(client: Client, first: float, step: float, end: float) -> list[float]:
    """Milliseconds from when each click was due."""
    times, due = [], first
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        client.click()
        times.append(1000 * (time.monotonic() - due))
        due += step
    return times


def in_turn(client: Client, end: float) -> list[float]:
    times = []
    while (began := time.monotonic()) < end:
        client.click()
        times.append(1000 * (time.monotonic() - began))
    return times


def main() -> None:
    address, picture, rate, seconds = sys.argv[1:]
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request("GET", f"/api/picture?picture={quote(picture)}")
    size = json.loads(connection.getresponse().read())
    hw = size["height"], size["width"]
    clients = [Client(address, picture, hw, n) for n in range(CLIENTS)]
    for client in clients:
        client.click()
    began = time.monotonic() + SETTLE
    end = began + float(seconds)
    if float(rate) == 0:
        times = in_turn(clients[0], end)
    else:
        step = CLIENTS / float(rate)
        with ThreadPoolExecutor(CLIENTS) as pool:
            jobs = [
                pool.submit(at_a_rate, client, began + n * step / CLIENTS, step, end)
                for n, client in enumerate(clients)
            ]
            times = [value for job in jobs for value in job.result()]
    print(json.dumps({"times": times, "bytes": clients[0].bytes}))


if __name__ == "__main__":
    main()
