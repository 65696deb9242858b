"""Real connections to 127.0.0.1: slow ones, many of them, broken ones, and the end of it all."""

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from http.client import HTTPConnection

import pytest
from starlette.responses import PlainTextResponse, StreamingResponse

from perception.serve import connections, server
from perception.serve.middleware import HEADERS, Access, Guard
from perception.serve.server import listen, make_server

WORDS = "correct-horse-battery"
BEARER = {"authorization": f"Bearer {WORDS}"}
PATIENCE = 20


async def small_app(scope, receive, send):
    """/body reads all of it, /large sends 64 MB, /wait never answers, /fail fails."""
    path = scope["path"]
    answer = PlainTextResponse("hello")
    if path == "/body":
        while (await receive()).get("more_body"):
            pass
    elif path == "/large":
        answer = StreamingResponse(b"x" * (1 << 20) for _ in range(64))
    elif path == "/wait":
        await asyncio.Event().wait()
    elif path == "/fail":
        raise ValueError("a fault of ours")
    await answer(scope, receive, send)


@contextmanager
def running(app):
    """A server in a thread, and its port."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    served = make_server(app)
    served.capture_signals = nullcontext
    serve = served.serve

    async def serve_in_a_loop_that_is_known(sockets):
        served.loop = asyncio.get_running_loop()
        await serve(sockets)

    served.serve = serve_in_a_loop_that_is_known
    thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: served.started)
        yield served, port
    finally:
        served.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def until(done):
    end = time.monotonic() + PATIENCE
    while not (answer := done()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return answer


@pytest.fixture
def hurried(monkeypatch):
    """Every phase has a second or less."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "LINGER_SECONDS", "STALL_SECONDS"):
        monkeypatch.setattr(connections, name, 0.5)


@pytest.fixture
def port(hurried):
    with running(Guard(small_app, Access("127.0.0.1", WORDS))) as (_, port):
        yield port


def connect(port):
    one = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    one.settimeout(PATIENCE)
    return one


def ask(port, path="/", method="GET", headers=BEARER, body=None):
    """Status, headers and body of an answer, in a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def is_ended(one):
    """Whether the other side has let go; what it said before is passed over."""
    one.settimeout(0.05)
    try:
        while one.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def head(path="/", method="POST", **headers):
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_a_connection_that_says_nothing_is_let_go(port):
    with connect(port) as one:
        began = time.monotonic()
        assert one.recv(1) == b""
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n",
        head(content_length=1000, **BEARER, path="/body"),
        head(content_length=1000),  # It is refused, and its body never comes to an end.
        head(transfer_encoding="chunked"),
    ],
)
def test_bytes_that_drip_keep_no_connection(port, begun):
    with connect(port) as one:
        one.sendall(begun)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not is_ended(one):
            with suppress(OSError):
                one.sendall(b"1")
        assert time.monotonic() < end


def test_a_body_that_comes_at_a_fair_pace_is_taken(port, monkeypatch):
    monkeypatch.setattr(connections, "BODY_RATE", 1000)
    with connect(port) as one:
        one.sendall(head("/body", content_length=20_000, **BEARER))
        for _ in range(20):
            one.sendall(b"x" * 1000)
            time.sleep(0.1)
        assert one.recv(100).startswith(b"HTTP/1.1 200")


def test_whoever_takes_nothing_is_let_go(hurried):
    with running(Guard(small_app, Access("127.0.0.1", WORDS))) as (served, port):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with one:
            one.connect(("127.0.0.1", port))
            one.sendall(head("/large", "GET", **BEARER))
            until(lambda: served.server_state.tasks)
            until(lambda: not served.server_state.connections)
            until(lambda: not served.server_state.tasks)


def test_connections_without_a_token_come_after_those_with_one(monkeypatch):
    monkeypatch.setattr(connections, "MAX_UNPROVEN", 8)
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1000)
    with running(Guard(small_app, Access("127.0.0.1", WORDS))) as (served, port):
        kept = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with ExitStack() as stack:
            stack.callback(kept.close)

            def still_answers():
                kept.request("GET", "/", headers=BEARER)
                return kept.getresponse().read() == b"hello"

            assert still_answers()
            same = kept.sock
            busy = threading.Event()  # All of these come in one turn of the loop.
            served.loop.call_soon_threadsafe(busy.wait, PATIENCE)
            silent = [stack.enter_context(connect(port)) for _ in range(40)]
            busy.set()
            for one in silent[::2]:
                with suppress(OSError):
                    one.sendall(b"GET / HTTP/1.1\r\n")
            assert ask(port)[2] == b"hello"
            assert ask(port, headers={})[0] == 401
            until(lambda: sum(is_ended(one) for one in silent[:-8]) == 32)
            assert len(served.server_state.connections) <= 10
            assert still_answers()
            assert kept.sock is same
            assert not is_ended(silent[-1])


def test_there_are_so_many_connections_at_most(monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)
    guard = Guard(small_app, Access("127.0.0.1", WORDS))
    with running(guard) as (served, port), ExitStack() as stack:
        for _ in range(20):
            one = stack.enter_context(connect(port))
            one.sendall(head("/", "GET", **BEARER))
            assert one.recv(100).startswith(b"HTTP/1.1 200")
            assert len(served.server_state.connections) <= 9
        assert ask(port)[0] == 200


def test_a_connection_in_use_is_kept(port):
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    for _ in range(8):
        connection.request("GET", "/", headers=BEARER)
        assert connection.getresponse().read() == b"hello"
        same = connection.sock
        time.sleep(0.2)
    assert connection.sock is same
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y" * 100_000,
        head(content_length="x"),
    ],
    ids=range(6),
)
def test_what_is_no_http_is_answered_like_all_else(port, sent):
    with connect(port) as one:
        one.sendall(sent)
        answer = b""
        with suppress(OSError):
            while more := one.recv(1 << 16):
                answer += more
    begin, _, body = answer.partition(b"\r\n\r\n")
    lines = begin.decode().lower().splitlines()
    assert lines[0].startswith("http/1.1 400")
    assert set(json.loads(body)) == {"error"}
    for name, value in HEADERS.items():
        assert f"{name}: {value}".lower() in lines


def test_a_web_socket_is_none(port):
    with connect(port) as one:
        upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
        one.sendall(head("/", "GET", **upgrade, **BEARER))
        assert one.recv(100).startswith(b"HTTP/1.1 200")


def test_a_fault_of_ours_has_the_headers(port):
    status, headers, body = ask(port, "/fail")
    assert status == 500
    assert set(json.loads(body)) == {"error"}
    assert HEADERS.items() <= headers.items()


@pytest.mark.parametrize("is_forced", [False, True])
def test_the_end_leaves_no_500(monkeypatch, is_forced):
    monkeypatch.setattr(server, "_SECONDS_TO_END", 60 if is_forced else 1)
    answers = []
    with running(Guard(small_app, Access("127.0.0.1", WORDS))) as (served, port):
        asking = threading.Thread(target=lambda: answers.append(ask(port, "/wait")))
        asking.start()
        until(lambda: served.server_state.tasks)
        served.should_exit = True
        served.force_exit = is_forced
        asking.join(PATIENCE)
    ((status, headers, body),) = answers
    assert status == 503
    assert json.loads(body) == {"error": "the service is ending; start it anew"}
    assert HEADERS.items() <= headers.items()


def test_head_gives_what_get_would_without_its_body(serving):
    with serving() as (_, client), running(client.app) as (_, port):
        for path in ("/", "/page/app.js", "/api/session", "/api/image?picture=a.png"):
            status, headers, body = ask(port, path, "HEAD", {})
            got = ask(port, path, headers={})
            assert (status, body) == (200, b"")
            assert {**headers, "date": ""} == {**got[1], "date": ""}
            assert int(headers["content-length"]) == len(got[2])
        assert ask(port, "/api/save", "HEAD", {})[:1] == (405,)
        assert ask(port, "/api/image?picture=x", "HEAD", {})[0] == 404


ERRORS = {
    404: ("GET", "/api/nothing", None),
    405: ("PUT", "/api/session", b""),
    413: ("POST", "/api/classes", b"x" * ((32 << 20) + 1)),
    415: ("POST", "/api/upload", b"{}"),
    422: ("POST", "/api/classes", b"{}"),
    500: ("GET", "/api/session", None),
}


@pytest.mark.parametrize("status", ERRORS)
def test_every_error_has_the_headers(serving, monkeypatch, status):
    method, path, body = ERRORS[status]
    with serving() as (service, client), running(client.app) as (_, port):
        if status == 500:
            monkeypatch.setattr(type(service), "classes", property(lambda _: 1 / 0))
        headers = {"content-type": "application/json"}
        if status == 413:  # Refused unread.
            headers["content-length"], body = str(len(body)), None
        answer = ask(port, path, method, headers, body)
    assert answer[0] == status
    assert HEADERS.items() <= answer[1].items()
    assert list(json.loads(answer[2])) == ["error"]
    if status == 405:
        assert answer[1]["allow"] == "GET"


def test_methods_that_are_none(serving):
    with serving() as (_, client), running(client.app) as (_, port):
        for method in ("DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"):
            status, headers, _ = ask(port, "/", method, {})
            assert (status, headers["allow"]) == (405, "GET, HEAD, POST, PUT")
            assert HEADERS.items() <= headers.items()
