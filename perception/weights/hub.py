"""The Hugging Face hub: which files a repository has at a revision, and how to ask for them.

``huggingface_hub`` knows the addresses, the token and the hub's way of refusing; the files
themselves come through ``fetch``, which keeps what has arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perception.errors import MissingExtraError, WeightsError
from perception.weights.manifest import WeightsEntry

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
