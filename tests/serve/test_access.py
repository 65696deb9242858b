"""Which hosts and origins are this service's own."""

import socket

import pytest

from perception.serve.middleware import Access, is_loopback


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.2", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_loopback(host, inside):
    assert is_loopback(host) == inside


@pytest.mark.parametrize(
    ("header", "here", "everywhere"),
    [
        ("127.0.0.1:8000", True, True),
        ("localhost", True, True),
        ("LOCALHOST:1", True, True),
        ("[::1]:8000", True, True),
        ("192.168.1.2:8000", False, True),
        ("[fe80::1]:8000", False, True),
        (f"{socket.gethostname()}:8000", False, True),
        ("evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("127.0.0.1.nip.io", False, False),
        ("user@127.0.0.1", True, True),
        ("", False, False),
        ("[", False, False),
    ],
)
def test_hosts(header, here, everywhere):
    assert Access("127.0.0.1").allows_host(header) == here
    assert Access("0.0.0.0", "x").allows_host(header) == everywhere  # noqa: S104


def test_the_host_that_was_named():
    access = Access("studio.lan", "x")
    assert access.allows_host("Studio.lan:8000")
    assert not access.allows_host("lan")


def test_an_origin_is_compared_whole():
    access = Access("127.0.0.1")
    for origin, allowed in (
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1:8000", True),
        ("http://127.0.0.1:80001", False),
        ("http://127.0.0.1:8000.evil.example", False),
        ("http://127.0.0.1:8000/", False),
        ("http://[", False),
        ("file://127.0.0.1:8000", False),
        ("null", False),
    ):
        headers = {"host": "127.0.0.1:8000", "origin": origin}
        assert access.allows_origin("PUT", headers) == allowed
        assert access.allows_origin("GET", headers)
    assert access.allows_origin("POST", {"host": "127.0.0.1:8000"})


def test_no_token_is_no_token():
    assert Access("127.0.0.1").allows_token({})
    assert not Access("127.0.0.1").is_token("")
