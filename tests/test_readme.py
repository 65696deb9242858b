"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_its_python_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "demos").symlink_to(ROOT / "demos", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    code = re.search(r"^## Python\n.*?```python\n(.*?)```", README, re.S | re.M)
    assert code is not None
    exec(compile(code[1], "README.md", "exec"), {"print": lambda *_: None})
    assert (tmp_path / "overlay.png").is_file()
