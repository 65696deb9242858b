"""A model that isn't here: whoever sits at a terminal is asked, all others get one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkpoints.conftest import sha256
from checkpoints.server import Site, add_repository, serving
from detectors.published_tiny import saved
from fakes import drawing
from PIL import Image

pty = pytest.importorskip("pty", reason="needs pseudo-terminals")

TESTS = Path(__file__).parents[1]
COMMIT = "a2bb814dd30d776dcf7e30523b00659f4f141c71"  # as the manifest pins it
HUB = "IDEA-Research/grounding-dino-tiny"
# The whole command line, with the hub on this machine and no sizes in the manifest.
SCRIPT = f"""
import sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS.parent)!r}]
from dataclasses import replace
import huggingface_hub.constants as hub
url, cache, *arguments = sys.argv[1:]
hub.ENDPOINT, hub.HF_HUB_CACHE = url, cache
hub.HUGGINGFACE_CO_URL_TEMPLATE = url + "/{{repo_id}}/resolve/{{revision}}/{{filename}}"
from perception.models import names as parts
from perception.cli import commands
from perception.checkpoints.catalog import read_manifest

known = dict(read_manifest())
dino = known["grounding-dino-tiny"]
files = tuple(replace(one, size=0, sha256="") for one in dino.files)
known["grounding-dino-tiny"] = replace(dino, files=files)
parts.read_manifest = lambda: known
sys.argv = ["perception", *arguments]
commands.main()
"""


@dataclass
class Terminal:
    """Runs the command line on a terminal of its own."""

    site: Site
    folder: Path

    def run(self, *arguments: str, types: str = "", stdin_is_a_pipe: bool = False):
        """Arguments, and what is typed, in; (status, standard output, what the terminal shows)."""
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", SCRIPT, self.site.url, str(self.folder / "hub")]
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL if stdin_is_a_pipe else theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=self.folder,
            env={**os.environ, "PERCEPTION_WEIGHTS": str(self.folder / "weights")},
        )
        os.close(theirs)
        os.write(ours, types.encode())
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # How Linux says that nobody is left at the other end.
                break
            if not piece:
                break
            shown += piece
        out, _ = process.communicate(timeout=120)
        os.close(ours)
        return process.returncode, out.decode(), shown.decode()

    @property
    def is_here(self) -> bool:
        return (self.folder / "weights" / "grounding-dino-tiny" / "model.safetensors").is_file()


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    Image.fromarray(drawing()).save(tmp_path / "a.png")
    files = {path.name: path.read_bytes() for path in saved("grounding-dino").iterdir()}
    large = {"model.safetensors": sha256(files["model.safetensors"])}
    with serving(Site()) as site:
        add_repository(site, HUB, files, commit=COMMIT, large=large)
        yield Terminal(site, tmp_path)


ASK = ("detect", "a.png", "--text", "red", "--model", "grounding-dino-tiny", "--json", "-")


def test_a_yes_downloads_and_goes_on(terminal: Terminal) -> None:
    code, out, shown = terminal.run(*ASK, types="y\n")
    assert "grounding-dino-tiny isn't on this machine" in shown
    assert "licence Apache-2.0" in shown
    assert "Download now, and agree to the licence? [y/N]" in shown
    assert code == 0, shown
    assert terminal.is_here
    assert out.startswith("{")  # The question didn't get in between.
    # It is here now: nobody is asked again.
    code, _, shown = terminal.run(*ASK)
    assert (code, "Download" in shown) == (0, False)


def test_a_no_downloads_nothing_and_says_what_to_do(terminal: Terminal) -> None:
    code, out, shown = terminal.run(*ASK, types="n\n")
    assert (code, out) == (1, "")
    (error,) = [line for line in shown.splitlines() if "error" in line]
    assert error.endswith(f"to {terminal.folder / 'weights' / 'grounding-dino-tiny'}")
    assert "not on this machine: run perception weights pull grounding-dino-tiny" in error
    assert not terminal.is_here
    assert terminal.site.asked == []


def test_no_answer_is_no_agreement(terminal: Terminal) -> None:
    code, out, shown = terminal.run(*ASK, types="\x04")
    assert (code, out) == (130, "")
    assert shown.splitlines()[-1] == "perception: error: interrupted"
    assert not terminal.is_here


def test_in_a_pipe_nobody_is_asked(terminal: Terminal) -> None:
    code, out, shown = terminal.run(*ASK, stdin_is_a_pipe=True)
    assert (code, out) == (1, "")
    assert "Download" not in shown
    assert len(shown.splitlines()) == 1
    assert "run perception weights pull grounding-dino-tiny" in shown
    assert terminal.site.asked == []
