"""One file over HTTP, from a server that doesn't behave."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from checkpoints.conftest import WHOLE
from checkpoints.server import Site, serving
from perception.checkpoints import hub as module
from perception.checkpoints.hub import TRIES, RefusedError, fetch
from perception.errors import WeightsError


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "new" / "sam.pth.part"


def ranges(site: Site) -> list[str | None]:
    return [headers.get("Range") for _, _, headers in site.asked]


def test_a_whole_file(site: Site, part: Path) -> None:
    steps: list[int] = []
    fetch(f"{site.url}/sam.pth", part, size=len(WHOLE), step=steps.append)
    assert part.read_bytes() == WHOLE
    assert sum(steps) == len(WHOLE)
    fetch(f"{site.url}/sam.pth", part, size=len(WHOLE))
    assert len(site.asked) == 1  # It is whole, so nobody is asked.


def test_goes_on_where_it_ended(site: Site, part: Path) -> None:
    part.parent.mkdir()
    part.write_bytes(WHOLE[:1000])
    fetch(f"{site.url}/sam.pth", part, size=len(WHOLE))
    assert part.read_bytes() == WHOLE
    assert ranges(site) == ["bytes=1000-"]


def test_a_connection_that_is_cut_goes_on_by_itself(site: Site, part: Path) -> None:
    site.cut["/sam.pth"] = [100, 0, 5000]
    fetch(f"{site.url}/sam.pth", part, size=len(WHOLE))
    assert part.read_bytes() == WHOLE
    assert ranges(site) == [None, "bytes=100-", "bytes=100-", "bytes=5100-"]


def test_a_connection_that_is_always_cut(site: Site, part: Path) -> None:
    site.cut["/sam.pth"] = [700] * TRIES
    with pytest.raises(WeightsError, match=r"ended .* 4 kB have arrived and are kept") as caught:
        fetch(f"{site.url}/sam.pth", part, size=len(WHOLE))
    assert "\n" not in str(caught.value)
    assert part.read_bytes() == WHOLE[: 700 * TRIES]


def test_a_server_that_can_only_begin_anew(site: Site, part: Path) -> None:
    site.ranges = False
    part.parent.mkdir()
    part.write_bytes(b"other" * 10)
    steps: list[int] = []
    fetch(f"{site.url}/sam.pth", part, size=len(WHOLE), step=steps.append)
    assert part.read_bytes() == WHOLE
    assert sum(steps) == len(WHOLE) - 50


@pytest.mark.parametrize("size", [0, len(WHOLE)])
def test_more_than_there_is(site: Site, part: Path, size: int) -> None:
    part.parent.mkdir()
    part.write_bytes(WHOLE + b"more")
    fetch(f"{site.url}/sam.pth", part, size=size)
    assert part.read_bytes() == WHOLE


def test_another_length_than_expected(site: Site, part: Path) -> None:
    with pytest.raises(WeightsError, match=r"10,240 bytes under this name, expected 99"):
        fetch(f"{site.url}/sam.pth", part, size=99)
    assert not part.exists()


def test_a_web_page(site: Site, part: Path) -> None:
    site.kind = "text/html; charset=utf-8"
    with pytest.raises(WeightsError, match="a web page in place of the file: a proxy"):
        fetch(f"{site.url}/sam.pth", part)
    assert not part.exists()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"not there any more \(404\).*import"),
        (429, r"asks to wait \(429\); run the same command after 7 seconds"),
        (503, r"asks to wait \(503\)"),
        (403, r"refuses \(403 Forbidden\)"),
        (500, r"refuses \(500"),
    ],
)
def test_refusals(site: Site, part: Path, status: int, message: str) -> None:
    site.status["/sam.pth"] = status
    with pytest.raises(RefusedError, match=message) as caught:
        fetch(f"{site.url}/sam.pth", part)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)


def test_nobody_there(part: Path) -> None:
    with serving(Site()) as gone:
        url = gone.url
    with pytest.raises(WeightsError, match=r"can't be reached \(connection refused\).*import"):
        fetch(f"{url}/sam.pth", part)


def test_a_network_that_goes_away_meanwhile(part: Path) -> None:
    with serving(Site()) as gone:
        url = gone.url
    part.parent.mkdir()
    part.write_bytes(WHOLE[:100])
    module._SECONDS_BETWEEN, before = 0.0, module._SECONDS_BETWEEN
    try:
        with pytest.raises(WeightsError, match=r"100 bytes have arrived and are kept"):
            fetch(f"{url}/sam.pth", part)
    finally:
        module._SECONDS_BETWEEN = before
    assert part.read_bytes() == WHOLE[:100]


class FullDisk:
    """A file that takes a thousand bytes."""

    def __init__(self, file: object) -> None:
        self._file = file

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._file.write(data[:1000])  # type: ignore[attr-defined]
        self._file.flush()  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk(site: Site, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = module._copy
    with monkeypatch.context() as patch:
        patch.setattr(
            module, "_copy", lambda answer, file, step: copy(answer, FullDisk(file), step)
        )
        with pytest.raises(WeightsError, match=r"disk is full \(9 kB more are needed\).*kept"):
            fetch(f"{site.url}/sam.pth", part, size=len(WHOLE))
    assert part.read_bytes() == WHOLE[:1000]
    fetch(f"{site.url}/sam.pth", part, size=len(WHOLE))
    assert part.read_bytes() == WHOLE


def test_a_folder_that_cannot_be_made(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"can't be written .*PERCEPTION"):
        fetch(f"{site.url}/sam.pth", tmp_path / "file" / "sam.pth.part")


def test_two_processes(site: Site, part: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    part.parent.mkdir()
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(WeightsError, match="another process is downloading it"):
            fetch(f"{site.url}/sam.pth", part)


def test_a_token_goes_to_no_other_server(site: Site, part: Path) -> None:
    with serving(Site({"/elsewhere": WHOLE})) as other:
        site.redirect["/a"] = "/b"
        site.redirect["/b"] = f"{other.url}/elsewhere"
        fetch(f"{site.url}/a", part, headers={"Authorization": "Bearer secret"})
        assert part.read_bytes() == WHOLE
        sent = [headers.get("Authorization") for _, _, headers in site.asked + other.asked]
    assert sent == ["Bearer secret", "Bearer secret", None]
