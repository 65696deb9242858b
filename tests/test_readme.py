"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_tree_names_every_file_of_the_package() -> None:
    tree = README.split("## The tree")[1].split("## ")[0]
    files = {path.name for path in (ROOT / "perception").rglob("*.py")} - {"__init__.py"}
    files |= {path.name for path in (ROOT / "tools").rglob("*.py")} - {"__init__.py"}
    assert not {name for name in files if not re.search(rf"\b{re.escape(name)}", tree)}


def test_the_tree_names_no_file_that_is_gone() -> None:
    tree = README.split("## The tree")[1].split("## ")[0]
    named = set(re.findall(r"\b[a-z_0-9]+\.py\b", tree))
    there = {path.name for path in ROOT.glob("*/**/*.py") if ".venv" not in path.parts[-4:]}
    assert not named - there


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "demos").symlink_to(ROOT / "demos", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"## Ten lines.*?```python\n(.*?)```", README, re.S)
    assert code is not None
    assert len(code[1].splitlines()) <= 11
    exec(compile(code[1], "README.md", "exec"), {"print": lambda *_: None})
    assert (tmp_path / "overlay.png").is_file()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_what_it_links_to_is_there(path: str) -> None:
    assert (ROOT / path).exists()
