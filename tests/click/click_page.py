"""Running the page's pure modules in node, with numbers from Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from system_tools import need

PAGE = Path(__file__).parents[2] / "demos" / "click"


def run_node(code: str, data: Any = None) -> Any:
    """What an async function body returns; in it ``data`` is ``data``, ``load`` imports a file."""
    script = f"""
      const chunks = [];
      for await (const chunk of process.stdin) chunks.push(chunk);
      const data = JSON.parse(Buffer.concat(chunks).toString());
      const load = (name) => import({json.dumps(PAGE.as_uri())} + "/" + name);
      const answer = await (async () => {{ {code} }})();
      process.stdout.write(JSON.stringify(answer ?? null));
    """
    done = subprocess.run(
        [need(shutil.which("node"), "node"), "--input-type=module", "-e", script],
        input=json.dumps(data),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
