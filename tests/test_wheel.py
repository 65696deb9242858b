"""The wheel, in an empty environment and another folder: what a user gets."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from system_tools import need

from perception import __version__
from perception.checkpoints.catalog import read_manifest
from perception.serve.page_files import PAGE_FOLDER, page_files, runtime_files

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.wheel


def call(*command, cwd):
    """Runs a command that sees nothing of this checkout; returns its standard output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of commands of an environment that holds the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    commands = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    call(commands / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return commands


def test_what_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name == f"perception_masks-{__version__}-py3-none-any.whl"
    weights = {Path(name).name for name in names if name.startswith("perception/_weights/")}
    entries = [entry for entry in read_manifest().values() if entry.is_embedded]
    files = {file.name for entry in entries for file in entry.files}
    needed = {name for name in files if not name.endswith(".safetensors")}
    assert weights == needed | {"manifest.toml", "MODEL_CARD.md"}
    assert "perception/py.typed" in names
    page = {Path(name).name for name in names if name.startswith("perception/_click/")}
    runtime = {path.name for path in runtime_files(ROOT / PAGE_FOLDER)}
    assert page == {path.name for path in page_files(ROOT / PAGE_FOLDER)} | runtime
    assert "index.html" in page
    assert not [name for name in names if name.split("/")[0] in ("tests", "tools", "demos")]


def test_it_runs_from_another_folder(installed, tmp_path):
    pictures = sorted((ROOT / "demos" / "images").glob("*.jpg"))
    out = call(
        installed / "perception", "segment", pictures[0], "--text", "red star", "--json", "-",
        cwd=tmp_path,
    )  # fmt: skip
    content = json.loads(out)
    assert content["info"]["version"] == __version__
    assert content["images"][0]["file_name"] == pictures[0].name


def test_it_holds_the_core_only(installed, tmp_path):
    code = (
        "import importlib.util as u, perception, cv2; print(perception.__file__); "
        "print([n for n in ('torch', 'transformers', 'onnx', 'supervision', 'av') "
        "if u.find_spec(n)])"
    )
    home, extras = call(installed / "python", "-c", code, cwd=tmp_path).splitlines()
    assert not Path(home).is_relative_to(ROOT)
    assert extras == "[]"
    listed = call(installed / "python", "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    names = {package["name"] for package in json.loads(listed)}
    assert {name for name in names if name.startswith("opencv")} == {"opencv-python-headless"}


def test_make_wheel_needs_no_development_install(tmp_path):
    """In a clean copy, with the runtime if it is here; a wheel without it is noticed."""
    need(shutil.which("make"), "make")
    copy = tmp_path / "copy"
    call("git", "clone", "--quiet", "--no-hardlinks", ROOT, copy, cwd=tmp_path)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)  # As they are now, committed or not.
    runtime = ROOT / PAGE_FOLDER / "node_modules"
    if runtime.is_dir():
        (copy / PAGE_FOLDER / "node_modules").symlink_to(runtime)
    done = subprocess.run(
        # What npm does is there already, or left out.
        ["make", "-o", "page", "wheel", f"PYTHON={sys.executable}"],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    if runtime.is_dir():
        assert done.returncode == 0, done.stderr
    else:
        assert "the wheel lacks the runtime" in done.stderr
    (wheel,) = (copy / "dist").glob("*.whl")
    assert "perception/__init__.py" in zipfile.ZipFile(wheel).namelist()
    assert not (copy / ".venv-dev").exists()
    listed = call(copy / ".venv-build" / "bin" / "python", "-m", "pip", "list", cwd=copy)
    assert "numpy" not in listed
