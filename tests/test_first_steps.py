"""A newcomer's first steps: the commands of the README and of other pages, in a clean clone.

Of other pages those that name an environment; the others are examples about files of one's own.

The environments are those that exist: ``.venv`` and ``.venv-dev`` of the clone are this
interpreter, and nothing is installed or fetched. What needs a network, a published model or a data
set that isn't here has to say so in one line; benchmarks and ``make test`` are only asked whether
they know their options and targets.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.request import urlopen

import pytest
from system_tools import need

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PYTHON_PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
OTHERS = [ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES = "\n".join([README, *(path.read_text("utf-8") for path in OTHERS)])
INSTALLING = README + (ROOT / "docs" / "install.md").read_text("utf-8")
SECONDS = 120
# What a newcomer doesn't have at hand.
ELSEWHERE = re.compile(r"grabcut|coco_val206|instances\.json|sam_vit_b_01ec64|\bbase\b|owlv2")


def blocks(language: str, text: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [block for kind, block in found if kind == language]


def commands(text: str) -> list[str]:
    """The lines of a text that are typed into a shell, without their comments."""
    typed = re.compile(r"(make|pip|npm|python|perception|git|\S*/bin/\S+) ")
    lines = "".join(blocks("", text)).replace("\\\n", " ").splitlines()
    found = [shlex.join(shlex.split(line, comments=True)) for line in lines if typed.match(line)]
    return list(dict.fromkeys(found))


def those(pattern: str) -> list[str]:
    return [command for command in commands(PAGES) if re.match(pattern, command)]


PERCEPTION = [one for one in those(r"\.venv/bin/perception ") if " serve " not in one]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean clone whose environments are this interpreter."""
    need(shutil.which("git"), "git")
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    folder = tmp_path_factory.mktemp("first") / "perception"
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    for name, programs in {
        ".venv": {"python": "", "perception": "-m perception"},
        ".venv-dev": {"python": ""},
    }.items():
        (folder / name / "bin").mkdir(parents=True)
        for program, arguments in programs.items():
            path = folder / name / "bin" / program
            line = f'exec {shlex.quote(sys.executable)} {arguments} "$@"'
            path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
            path.chmod(0o755)
        (folder / name / ".installed").touch()
    return folder


def environment(folder: Path) -> dict[str, str]:
    """No network, no model that was downloaded before, no code but the clone's."""
    closed = "http://127.0.0.1:9"
    return {
        **os.environ,
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
        "PERCEPTION_WEIGHTS": str(folder / "no-weights"),
        "PERCEPTION_CACHE": str(folder / "cache"),
        "HF_HOME": str(folder / "no-hub"),
        **dict.fromkeys(("HF_ENDPOINT", "https_proxy", "HTTPS_PROXY"), closed),
    }


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that say what is wrong; a stack trace is never among them."""
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("perception: error: ")]


def test_every_command_says_which_environment_it_is_for() -> None:
    stray = [one for one in commands(README) if not re.match(r"make |\.venv(-dev)?/bin/", one)]
    assert stray == []
    assert len(those(r"make |\.venv(-dev)?/bin/")) > 30


def test_the_runtime_comes_before_the_install_that_takes_it() -> None:
    steps = commands(README)
    assert steps.index("make page") < steps.index(".venv/bin/pip install --editable '.[web]'")


def test_what_is_installed_exists() -> None:
    """Extras of this folder, and nothing by a name that an index may not have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = set(re.findall(r"pip install (?:--editable )?'?(.+?)'?(?=[`\s])", INSTALLING))
    assert wanted - {"onnxruntime-gpu"} >= {".", ".[web]", ".[torch]"}
    for what in wanted - {".", "onnxruntime-gpu"}:
        extra = re.fullmatch(r"\.\[(\w+)\]", what)
        assert extra, f"pip install {what}"
        assert extra[1] in project["optional-dependencies"]


def test_make_demo(clone: Path) -> None:
    need(shutil.which("make"), "make")
    done = run(clone, f"make demo PYTHON={shlex.quote(sys.executable)}")
    assert done.returncode == 0, done.stderr
    pictures = {path.name for path in (clone / "demos" / "images").iterdir()}
    written = {path.name for path in (clone / "perception-out").iterdir()}
    assert written == {f"{name}.overlay.png" for name in pictures} | {"coco.json"}


@pytest.mark.parametrize("command", those("make "))
def test_targets(clone: Path, command: str) -> None:
    need(shutil.which("make"), "make")
    done = run(clone, f"{command} --dry-run PYTHON={shlex.quote(sys.executable)}")
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("command", PERCEPTION)
def test_commands(clone: Path, command: str) -> None:
    """In the order of the pages: later ones use what earlier ones wrote."""
    done = run(clone, command)
    wrong = complaints(done)
    if ELSEWHERE.search(command):
        assert done.returncode in (1, 2)
        assert len(wrong) == 1
        assert done.stderr.splitlines()[-1] == wrong[0]
    else:
        assert (done.returncode, wrong) == (0, []), done.stderr


def test_a_model_is_not_fetched_without_a_network(clone: Path) -> None:
    done = run(clone, ".venv/bin/perception weights pull sam-vit-b --yes")
    assert done.returncode == 1
    assert len(complaints(done)) == 1
    assert not list(clone.glob("no-weights/**/*.pth"))


@pytest.mark.parametrize("command", those(r"\.venv/bin/perception serve"))
def test_serve(clone: Path, command: str) -> None:
    service = subprocess.Popen(
        [*shlex.split(command), "--port", "0"],
        cwd=clone,
        env={**environment(clone), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout is not None
        address = service.stdout.readline().split()[0]
        with urlopen(address, timeout=SECONDS) as answer:  # noqa: S310  # on this machine
            assert b"<html" in answer.read()
        service.send_signal(signal.SIGINT)
        _, errors = service.communicate(timeout=SECONDS)
    finally:
        service.kill()
    assert "Traceback" not in errors
    assert service.returncode in (0, 130)


@pytest.mark.parametrize("command", those(r"\.venv-dev/bin/python "))
def test_tools(clone: Path, command: str) -> None:
    """They take minutes to hours; that they start and know their options has to do."""
    program, tool, *options = shlex.split(command)
    done = run(clone, shlex.join([program, tool, "--help"]))
    assert done.returncode == 0, done.stderr
    assert {word for word in options if word.startswith("-")} <= set(done.stdout.split())


@pytest.mark.parametrize("page", [README, PYTHON_PAGE], ids=["README.md", "docs/python.md"])
def test_python(clone: Path, page: str) -> None:
    """All blocks of a page, one after the other."""
    (clone / "steps.py").write_text("".join(blocks("python", page)), encoding="utf-8")
    done = run(clone, ".venv/bin/python steps.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout
