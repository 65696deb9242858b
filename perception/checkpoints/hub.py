"""Downloads: the files of a repository on the hub, one file over HTTPS at a time.

``huggingface_hub`` knows the addresses, the token and the hub's way of refusing; the files
themselves come through ``fetch``, which keeps what has arrived.

Only this file and ``hub.py`` of the package open the network, and only for
``perception weights pull``.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from perception import __version__
from perception.checkpoints.catalog import WeightsEntry, readable
from perception.errors import MissingExtraError, WeightsError
from perception.imaging.read import printable

REFUSED = (401, 403, 404)
"""How the hub answers who may not have a file: it doesn't even say that there is one."""


@dataclass(frozen=True)
class HubFile:
    """One file of a repository. url: where it is; size, sha256: 0 and "" if the hub says none."""

    name: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Repository:
    """What a repository holds at one revision. headers: to be sent with a request for its files."""

    revision: str
    files: Mapping[str, HubFile]
    headers: Mapping[str, str]


def look_up(entry: WeightsEntry, *, revision: str) -> Repository:
    """What the hub has of a model at a revision, "" for its newest.

    Raises WeightsError where the hub can't be reached or refuses, MissingExtraError without
    ``huggingface_hub``.
    """
    try:
        from huggingface_hub import HfApi, constants, get_token, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    except ImportError:
        raise MissingExtraError(
            f"{entry.name} comes from the Hugging Face hub, which needs huggingface_hub: "
            "pip install 'perception-masks[torch]'"
        ) from None
    # The library has changed what it sends requests with; the base of its own error is that's.
    network_error: Any = HfHubHTTPError.__bases__[0]
    token = get_token()
    try:
        info = HfApi(endpoint=constants.ENDPOINT, token=token).model_info(
            entry.hub, revision=revision or None, files_metadata=True
        )
    except OfflineModeIsEnabled:
        raise WeightsError(
            f"{entry.name}: HF_HUB_OFFLINE is set, so nothing is downloaded; unset it, or run "
            "perception weights import with files from another machine"
        ) from None
    except (network_error, OSError) as error:
        raise _explained(entry, revision, error) from None
    commit = info.sha or revision
    files = {
        one.rfilename: HubFile(
            one.rfilename,
            hf_hub_url(entry.hub, one.rfilename, revision=commit),
            one.size or 0,
            one.lfs.sha256 if one.lfs else "",
        )
        for one in info.siblings or ()
    }
    return Repository(commit, files, {"Authorization": f"Bearer {token}"} if token else {})


def access(entry: WeightsEntry) -> str:
    """What to do about a model that is given on request, in one line."""
    return (
        f"{entry.name} is given on request: ask for it at https://huggingface.co/{entry.hub} with "
        "an account, make a token at https://huggingface.co/settings/tokens, set HF_TOKEN to it "
        "(or run hf auth login), then run the same command again"
    )


def _explained(entry: WeightsEntry, revision: str, error: Exception) -> WeightsError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError as RevisionError

    where = f"{entry.name}: {entry.hub} on the hub"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError) or (entry.gated and status in REFUSED):
        return WeightsError(access(entry))
    if isinstance(error, RevisionError):
        return WeightsError(
            f"{where} doesn't have revision {revision} any more; a newer perception may know the "
            "new one, or bring the files from another machine: perception weights import"
        )
    if isinstance(error, RepositoryNotFoundError):
        return WeightsError(
            f"{where} isn't there any more, or not for this account; bring the files from another "
            "machine: perception weights import"
        )
    if status == 429:
        return WeightsError(f"{where}: the hub asks to wait (429); run the same command later")
    why = f"it answers {status}" if status else " ".join(str(error).split()) or "no answer"
    return WeightsError(
        f"{where} can't be reached ({why}); check the network, the proxy (HTTPS_PROXY) and "
        "HF_ENDPOINT, or bring the files from another machine: perception weights import"
    )


TRIES = 5
"""How often a connection may end before nothing more is tried."""

_SECONDS_BETWEEN = 1.0
_SECONDS_OF_SILENCE = 60.0
_CHUNK = 1 << 20
_WAIT, _GONE_PAST = (429, 503), 416


class RefusedError(WeightsError):
    """A server refuses a file; status: its answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _CutOffError(Exception):
    """A connection ended before the file did."""


def fetch(
    url: str,
    part: Path,
    *,
    size: int = 0,
    headers: Mapping[str, str] | None = None,
    step: Callable[[int], object] = lambda _: None,
) -> None:
    """Downloads ``url`` into ``part``, going on where an earlier call has ended.

    size: of the whole file, 0 if unknown; headers: for that server alone, such as a token's; step:
    called with how many more bytes the part has (negative where it begins anew). Raises
    WeightsError in one line, with what has arrived kept.
    """
    for left in range(TRIES - 1, -1, -1):
        try:
            _go_on(url, part, size, headers or {}, step)
            return
        except _CutOffError as error:
            if not left:
                raise WeightsError(
                    f"{url}: the connection ended ({error}); {readable(_length(part))} have "
                    "arrived and are kept, the same command goes on from there"
                ) from None
            time.sleep(_SECONDS_BETWEEN)


def _go_on(
    url: str, part: Path, size: int, headers: Mapping[str, str], step: Callable[[int], object]
) -> None:
    have = _length(part)
    if size and have > size:
        step(-have)
        part.unlink()
        have = 0
    if size and have == size:
        return
    with _answer(url, part, have, headers) as answer:
        total = _total(answer, have)
        _check_answer(url, answer, total, size)
        if have and answer.status != 206:  # The server begins anew.
            step(-have)
        with _writing(part, total or size) as file:
            if answer.status != 206:
                file.truncate(0)
            _copy(answer, file, step)
    if total is not None and _length(part) < total:
        raise _CutOffError(f"after {_length(part):,} of {total:,} bytes")


def _copy(answer: HTTPResponse, file: IO[bytes], step: Callable[[int], object]) -> None:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, HTTPException) as error:
            raise _CutOffError(_reason(error)) from None
        if not chunk:
            return
        file.write(chunk)
        step(len(chunk))


@contextmanager
def _answer(url: str, part: Path, have: int, headers: Mapping[str, str]) -> Iterator[HTTPResponse]:
    """The server's answer, from byte ``have`` on if it can; raises WeightsError for a refusal."""
    request = Request(url, headers={"User-Agent": f"perception/{__version__}"})  # noqa: S310
    for name, value in headers.items():
        request.add_header(name, value)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = build_opener(_Redirects).open(request, timeout=_SECONDS_OF_SILENCE)
    except HTTPError as error:
        with error:
            if error.code == _GONE_PAST and have:
                part.unlink()
                raise _CutOffError("what had arrived was longer than the file") from None
            raise RefusedError(f"{url}: {_refusal(error)}", error.code) from None
    except URLError as error:
        if have:
            raise _CutOffError(_reason(error.reason)) from None
        raise WeightsError(
            f"{url}: can't be reached ({_reason(error.reason)}); {_OTHERWISE}"
        ) from None
    except (OSError, HTTPException) as error:
        raise _CutOffError(_reason(error)) from None
    with answer:
        yield answer


_OTHERWISE = (
    "check the network and the proxy (HTTPS_PROXY), or bring the file from another machine and "
    "run perception weights import"
)


def _refusal(error: HTTPError) -> str:
    if error.code in _WAIT:
        wait = error.headers.get("Retry-After")
        after = f" {wait} seconds" if wait and wait.isdigit() else " a while"
        return f"the server asks to wait ({error.code}); run the same command after{after}"
    if error.code == 404:
        return f"not there any more (404); {_OTHERWISE}"
    return f"the server refuses ({error.code} {error.reason}); {_OTHERWISE}"


def _check_answer(url: str, answer: HTTPResponse, total: int | None, size: int) -> None:
    if answer.headers.get_content_type() == "text/html":
        raise WeightsError(
            f"{url}: the answer is a web page in place of the file: a proxy or a log-in page of "
            f"the network stands between; {_OTHERWISE}"
        )
    if size and total is not None and total != size:
        raise WeightsError(
            f"{url}: the server has {total:,} bytes under this name, expected {size:,}: it is not "
            "the pinned file any more; nothing was downloaded"
        )


def _total(answer: HTTPResponse, have: int) -> int | None:
    """The size of the whole file, as far as the server says it."""
    length = answer.headers.get("Content-Length")
    if length is None or not length.isdigit():
        return None
    return int(length) + (have if answer.status == 206 else 0)


@contextmanager
def _writing(part: Path, size: int) -> Iterator[IO[bytes]]:
    """The end of the part, for this process alone."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            _claim(file, part)
            yield file
    except OSError as error:
        where = printable(str(part))
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            more = f"{readable(max(size - _length(part), 0))} more are needed" if size else "full"
            raise WeightsError(
                f"{where}: the disk is full ({more}); make room, or choose another folder with "
                "PERCEPTION_WEIGHTS; what has arrived is kept, the same command goes on from there"
            ) from None
        raise WeightsError(
            f"{where}: can't be written ({_reason(error)}); choose another folder with "
            "PERCEPTION_WEIGHTS"
        ) from None


def _claim(file: IO[bytes], part: Path) -> None:
    """Keeps a second process from writing into the same part, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WeightsError(
            f"{printable(str(part))}: another process is downloading it; wait until it is done"
        ) from None


class _Redirects(HTTPRedirectHandler):
    """Redirects that take a token to no other server, and never from HTTPS to HTTP."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise WeightsError(f"{req.full_url}: refused: it leads to {newurl}, which isn't HTTPS")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and before.netloc != after.netloc:
            request.remove_header("Authorization")
        return request


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).lower()
