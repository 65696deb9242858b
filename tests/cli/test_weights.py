"""``perception weights``, and what --model, --device and --precision do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from checkpoints.conftest import WHOLE, sha256
from checkpoints.server import Site, serving

from perception.checkpoints import importing
from perception.checkpoints.catalog import WeightFile, read_manifest
from perception.cli import weights_run
from perception.cli.commands import status
from perception.models import names as parts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERCEPTION_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "weights"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch):
    """A server in place of that of sam-vit-b, whose file is small."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Site({"/sam_vit_b_01ec64.pth": WHOLE})) as running:
        file = WeightFile("sam_vit_b_01ec64.pth", len(WHOLE), sha256(WHOLE))
        entry = replace(
            read_manifest()["sam-vit-b"],
            files=(file,),
            url=f"{running.url}/sam_vit_b_01ec64.pth",
        )
        manifest = {**read_manifest(), "sam-vit-b": entry}
        for module in (parts, weights_run, importing):
            monkeypatch.setattr(module, "read_manifest", lambda: manifest)
        monkeypatch.setattr(importing, "find_entry", lambda name: manifest[name])
        yield running


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = status(["weights", *arguments])
    return code, *capfd.readouterr()


def test_list(folder: Path, site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, "list")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["MODEL", "KIND", "SIZE", "LICENCE", "WHERE", "WHAT", "FOR"]
    assert len({line.index("Apache-2.0") for line in lines[1:5]}) == 1
    assert lines[0].index("LICENCE") == lines[1].index("Apache-2.0")
    assert len(lines) == len(read_manifest()) + 3
    rows = {line.split()[0]: line for line in lines}
    assert "689 MB" in rows["grounding-dino-tiny"]
    assert "embedded" in rows["nano-detector"]
    assert "on request" in rows["sam3"]
    assert "SAM License" in rows["sam3"]
    assert "  here  " not in rows["sam-vit-b"]
    assert "base = grounding-dino-tiny+sam-vit-b" in out
    assert str(folder) in lines[-1]
    run(capfd, "pull", "sam-vit-b", "--yes", "-q")
    assert "  here  " in next(x for x in run(capfd, "list")[1].splitlines() if "sam-vit-b " in x)


def test_list_as_json(folder: Path, site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "pull", "sam-vit-b", "--yes", "-q")
    code, out, err = run(capfd, "list", "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    rows = {row["name"]: row for row in content["models"]}
    assert list(rows) == list(read_manifest())
    assert rows["sam-vit-b"]["where"] == "here"
    assert rows["sam-vit-b"]["bytes"] == len(WHOLE)  # As it lies there.
    assert rows["sam-vit-b"]["folder"] == str(folder / "sam-vit-b")
    assert rows["grounding-dino-tiny"]["bytes"] == 689359096
    assert rows["llmdet-tiny"]["bytes"] is None
    assert rows["nano-segmenter"]["where"] == "embedded"
    assert rows["sam3"]["kind"] == "detector and segmenter"
    assert rows["sam3"]["gated"] is True
    assert content["presets"]["base"] == "grounding-dino-tiny+sam-vit-b"
    assert content["folder"] == str(folder)


def test_pull(folder: Path, site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, "pull", "nano+sam-vit-b", "--yes", "--quiet")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"sam-vit-b: 10 kB, licence Apache-2.0, from {site.url}/sam_vit_b_01ec64.pth",
        f"sam-vit-b: downloaded to {folder / 'sam-vit-b'}",
    ]
    code, out, _ = run(capfd, "pull", "sam-vit-b")
    assert (code, out) == (0, f"sam-vit-b: already in {folder / 'sam-vit-b'}\n")
    assert len(site.asked) == 1


def test_the_licence_is_asked_for(
    folder: Path,
    site: Site,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, out, err = run(capfd, "pull", "sam-vit-b")
    assert (code, site.asked) == (2, [])
    assert "licence Apache-2.0" in out
    assert "pass --yes to agree" in err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: False)
    code, _, err = run(capfd, "pull", "sam-vit-b")
    assert (code, site.asked) == (1, [])
    assert err == "perception: error: nothing was downloaded\n"
    monkeypatch.setattr(click, "confirm", lambda *_, **__: True)
    assert run(capfd, "pull", "sam-vit-b", "-q")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pull", "sam-vit-d", "--yes"], 1, "did you mean sam-vit-"),
        (["pull", "./here.pth", "--yes"], 1, "here.pth: no such file or folder"),
        (["pull"], 2, "Missing argument 'NAME...'"),
        (["verify", "owlv2-base"], 1, "run perception weights pull owlv2-base (620 MB"),
        (["import", "nowhere"], 1, "nowhere: no such file or folder"),
    ],
)
def test_mistakes(
    folder: Path,
    site: Site,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    found, _, err = run(capfd, *arguments)
    assert found == code
    assert message in err
    assert len(err.splitlines()) == 1


def test_verify(folder: Path, site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "pull", "sam-vit-b", "--yes", "-q")
    code, out, err = run(capfd, "verify")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "nano-detector: 7 files as published",
        "nano-segmenter: 4 files as published",
        "sam-vit-b: 1 files as published, 0 as first recorded",
    ]
    path = folder / "sam-vit-b" / "sam_vit_b_01ec64.pth"
    path.write_bytes(WHOLE[::-1])
    code, out, err = run(capfd, "verify", "sam-vit-b")
    assert (code, out) == (1, "")
    assert err.startswith(f"perception: error: {path}: not the published file: sha256")


def test_import(
    folder: Path, site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(WHOLE)
    code, out, err = run(capfd, "import", str(path), "--as", "sam-vit-b", "-q")
    assert (code, err) == (0, "")
    assert out == f"sam-vit-b: 1 file in {folder / 'sam-vit-b'}, licence Apache-2.0\n"
    assert site.asked == []
    path.write_bytes(b"<html>")
    code, _, err = run(capfd, "import", str(path), "--as", "sam-vit-b", "-q")
    assert code == 1
    assert "it is a web page" in err


def test_where_and_how_a_model_computes(perception) -> None:
    code, _, err = perception(
        "segment", "in/a.png", "--text", "red", "--model", "base", "--device", "cuda:1",
        "--precision", "bf16", "-q",
    )  # fmt: skip
    assert (code, err) == (0, "")
    perception("everything", "in/a.png", "-q", "--points-per-side", "2", "--quality", "0")
    perception("annotate", "in", "--text", "red", "--out", "x.json", "--device", "cpu", "-q")
    assert perception.places == [("cuda:1", "bf16"), ("auto", "auto"), ("cpu", "auto")]


@pytest.mark.parametrize(
    ("option", "value"), [("--device", "tpu"), ("--device", "cuda:"), ("--precision", "int8")]
)
@pytest.mark.parametrize("command", ["segment", "detect", "annotate"])
def test_devices_and_precisions_that_are_none(perception, command, option, value) -> None:
    code, _, err = perception(command, "in", "--text", "red", "--out", "x.json", option, value)
    assert code == 2
    assert option in err
    assert len(err.splitlines()) == 1


def test_one_that_is_not_there() -> None:
    """The real models, and the real message."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "perception", "detect", "demos/images/park.jpg"),
            *("--text", "a", "--device", "mps", "--json", "-", "-q"),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "perception: error: mps: ONNX Runtime computes on cpu and cuda; use --device cpu\n"
    )
