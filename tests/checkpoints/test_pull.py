"""Downloading a model: checks, the lock file, the hub, and what can go wrong on the way."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from checkpoints.conftest import WHOLE, sha256
from checkpoints.server import Site, add_repository
from perception.checkpoints import download as module
from perception.checkpoints.catalog import WeightFile, WeightsEntry
from perception.checkpoints.download import pull
from perception.checkpoints.installed import find, missing
from perception.checkpoints.lock import LOCK, read_lock
from perception.checkpoints.verify import check
from perception.errors import WeightsError

COMMIT, OTHER = "a" * 40, "b" * 40
CONFIG, TENSORS = b'{"model_type": "sam2"}', b"tensors" * 100
FILES = {"config.json": CONFIG, "model.safetensors": TENSORS, "README.md": b"read me"}
HUB = WeightsEntry(
    "tiny-sam2",
    "sam2",
    "Apache-2.0",
    (
        WeightFile("config.json"),
        WeightFile("processor_config.json", optional=True),
        WeightFile("model.safetensors"),
    ),
    hub="people/tiny",
)


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A hub with one repository."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", site.url)
    template = f"{site.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    large = {"model.safetensors": sha256(TENSORS)}
    add_repository(site, "people/tiny", FILES, commit=COMMIT, large=large)
    return site


def test_one_file(folder: Path, sam: WeightsEntry, site: Site) -> None:
    assert find(sam) is None
    found = pull(sam)
    path = folder / "tiny-sam" / "sam.pth"
    assert found.files == {"sam.pth": path}
    assert path.read_bytes() == WHOLE
    assert sorted(os.listdir(path.parent)) == ["sam.pth"]  # no part is left
    assert read_lock(folder)["tiny-sam"].files["sam.pth"].sha256 == sha256(WHOLE)
    assert pull(sam) == found
    assert len(site.asked) == 1


def test_an_interrupted_download_goes_on(folder: Path, sam: WeightsEntry, site: Site) -> None:
    site.cut["/sam.pth"] = [1000] * module.fetch.__globals__["TRIES"]
    with pytest.raises(WeightsError, match="the same command goes on from there"):
        pull(sam)
    assert find(sam) is None
    assert (folder / "tiny-sam" / "sam.pth.part").stat().st_size == 5000
    shown: list[tuple[str, int, int]] = []

    def watch(name: str, size: int, have: int) -> object:
        shown.append((name, size, have))
        return module._unwatched(name, size, have)

    pull(sam, watch=watch)  # type: ignore[arg-type]
    assert shown == [("sam.pth", len(WHOLE), 5000)]
    assert site.asked[-1][2]["Range"] == "bytes=5000-"
    check(sam, pull(sam), again=True)


def test_a_file_with_another_sha256_is_thrown_away(
    folder: Path, sam: WeightsEntry, site: Site
) -> None:
    site.files["/sam.pth"] = WHOLE[::-1]
    with pytest.raises(WeightsError, match=r"not the published file: sha256 .* thrown away"):
        pull(sam)
    assert os.listdir(folder / "tiny-sam") == []


def test_a_web_page_with_a_status_of_200(folder: Path, sam: WeightsEntry, site: Site) -> None:
    page = b"<!DOCTYPE html><p>Please log in" + b" " * len(WHOLE)
    site.files["/sam.pth"] = page[: len(WHOLE)]
    with pytest.raises(WeightsError, match="it is a web page"):
        pull(sam)
    assert find(sam) is None


def test_too_little_room(folder: Path, sam: WeightsEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = module.shutil.disk_usage(folder.parent)._replace(free=3000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WeightsError, match="3 kB left, tiny-sam needs 10 kB; make room"):
        pull(sam)


def test_a_folder_of_the_hub(folder: Path, hub: Site) -> None:
    found = pull(HUB)
    assert {name: path.read_bytes() for name, path in found.files.items()} == {
        "config.json": CONFIG,
        "model.safetensors": TENSORS,
    }
    locked = read_lock(folder)["tiny-sam2"]
    assert locked.revision == COMMIT
    assert locked.files["config.json"].sha256 == sha256(CONFIG)
    sent = {
        headers.get("Authorization") or headers.get("authorization")
        for _, path, headers in hub.asked
        if "people/tiny" in path
    }
    assert sent == {"Bearer hf_secret"}


def test_the_first_download_is_what_later_ones_must_match(folder: Path, hub: Site) -> None:
    pull(HUB)
    changed = {**FILES, "config.json": b'{"model_type": "other"}'}
    add_repository(hub, "people/tiny", changed, commit=OTHER, large={})
    (folder / "tiny-sam2" / "config.json").unlink()
    assert pull(HUB).files["config.json"].read_bytes() == CONFIG  # at the revision of the lock
    assert hub.paths()[-2:] == [
        f"/api/models/people/tiny/revision/{COMMIT}",
        f"/people/tiny/resolve/{COMMIT}/config.json",
    ]
    hub.files[f"/people/tiny/resolve/{COMMIT}/config.json"] = b'{"model_type": "evil"}'
    (folder / "tiny-sam2" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"recorded first: sha256 .*lock\.toml") as caught:
        pull(HUB)
    assert "\n" not in str(caught.value)


def test_a_revision_that_is_gone(folder: Path, hub: Site) -> None:
    entry = replace(HUB, revision=OTHER)
    hub.status[f"/api/models/people/tiny/revision/{OTHER}"] = 404
    with pytest.raises(WeightsError, match=r"can't be reached|doesn't have revision|isn't there"):
        pull(entry)


def test_what_the_manifest_says_goes_before_the_hub(folder: Path, hub: Site) -> None:
    other = replace(
        HUB, files=(HUB.files[0], replace(HUB.files[2], sha256="0" * 64, size=len(TENSORS)))
    )
    with pytest.raises(WeightsError, match=r"another model\.safetensors than the one pinned"):
        pull(other)
    assert find(other) is None


def test_a_file_that_the_hub_does_not_have(folder: Path, hub: Site) -> None:
    entry = replace(HUB, files=(*HUB.files, WeightFile("vocab.txt")))
    with pytest.raises(WeightsError, match=r"has no vocab\.txt at revision aaaa"):
        pull(entry)


def test_a_model_that_is_given_on_request(folder: Path, hub: Site) -> None:
    entry = replace(HUB, gated=True)
    hub.status[f"/people/tiny/resolve/{COMMIT}/config.json"] = 403
    with pytest.raises(WeightsError, match=r"on request: .*huggingface\.co/people/tiny.*HF_TOKEN"):
        pull(entry)
    hub.status["/api/models/people/tiny"] = 401
    with pytest.raises(WeightsError, match=r"on request: .*HF_TOKEN"):
        pull(entry)


@pytest.mark.parametrize(("status", "message"), [(429, "asks to wait"), (400, "answers 400")])
def test_a_hub_that_refuses(folder: Path, hub: Site, status: int, message: str) -> None:
    hub.status["/api/models/people/tiny"] = status
    with pytest.raises(WeightsError, match=message) as caught:
        pull(HUB)
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached(
    folder: Path, hub: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"tiny-sam2: .*can't be reached .*import") as caught:
        pull(HUB)
    assert "\n" not in str(caught.value)


def test_a_hub_that_is_switched_off(
    folder: Path, hub: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    monkeypatch.setattr("huggingface_hub.utils._http.is_offline_mode", lambda: True, raising=False)
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set|can't be reached"):
        pull(HUB)


def test_the_hubs_own_cache_is_used_without_a_copy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "models--people--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name, data in FILES.items():
        (snapshot / name).write_bytes(data)
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    assert find(replace(HUB, revision=OTHER)) is None
    entry = replace(HUB, revision=COMMIT)
    found = pull(entry)
    assert found.in_cache
    assert found.folder == snapshot
    assert check(entry, found)["model.safetensors"] == sha256(TENSORS)
    assert not (folder / "tiny-sam2").exists()


def _no_network(*_: object) -> None:
    raise AssertionError("the network was opened")


def test_a_missing_model_says_what_to_do(folder: Path, sam: WeightsEntry) -> None:
    line = str(missing([HUB, sam]))
    assert "\n" not in line
    assert "run perception weights pull tiny-sam2 tiny-sam (10 kB, Apache-2.0)" in line
    assert f"sam.pth from {sam.url} to {folder / 'tiny-sam'}" in line
    assert "config.json, model.safetensors and the small .json and .txt files" in line


def test_a_file_that_was_put_there_by_hand(folder: Path, sam: WeightsEntry) -> None:
    folder.mkdir()
    (folder / "sam.pth").write_bytes(WHOLE)
    found = pull(sam)
    assert found.files["sam.pth"] == folder / "sam.pth"


def test_the_lock_file_is_damaged(folder: Path, sam: WeightsEntry) -> None:
    folder.mkdir()
    (folder / LOCK).write_text("models = 3")
    with pytest.raises(WeightsError, match=r"lock\.toml: damaged; delete it"):
        pull(sam)
