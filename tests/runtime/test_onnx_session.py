from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from perception.errors import WeightsError
from perception.runtime import onnx_session
from perception.runtime.onnx_session import open_session, runtime_errors, usable_cores


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """A file whose graph doubles a vector of three numbers."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 18)]
    path = tmp_path / "doppelt größer.onnx"  # a name that isn't ASCII
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("kind", [str, Path])
def test_runs(doubling: Path, threads: int, kind: type) -> None:
    session = open_session(kind(doubling), threads=threads)
    (y,) = session.run(["y"], {"x": np.float32([1, 2, 3])})
    assert y.tolist() == [2, 4, 6]


@pytest.mark.parametrize(("threads", "want"), [(1, 1), (3, 3), (0, usable_cores())])
def test_threads(doubling: Path, threads: int, want: int) -> None:
    options = open_session(doubling, threads=threads).get_session_options()
    assert options.intra_op_num_threads == want
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such model file"),
        (b"", "not an ONNX model that can be run"),
        (b"<html></html>", "not an ONNX model that can be run"),
        (bytes(range(256)) * 20, "not an ONNX model that can be run"),
    ],
    ids=["missing", "empty", "page", "noise"],
)
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        open_session(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such model file"):
        open_session(tmp_path)


def test_a_graph_that_lacks_an_operator(doubling: Path) -> None:
    model = onnx.load(doubling)
    model.graph.node[0].op_type = "NoSuchThing"
    onnx.save(model, doubling)
    with pytest.raises(WeightsError, match="not an ONNX model that can be run"):
        open_session(doubling)


def test_what_a_wrong_input_raises_is_among_the_runtime_errors(doubling: Path) -> None:
    with pytest.raises(runtime_errors()):
        open_session(doubling).run(["y"], {"x": np.zeros(4, np.float32)})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_only_the_cores_of_this_process_count() -> None:
    code = (
        "import os; from perception.runtime.onnx_session import usable_cores;"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cores())"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert answer.stdout.split() == [b"1"]


def test_importing_loads_no_runtime() -> None:
    code = "import sys, perception.runtime.onnx_session; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_builds_of_the_runtime_are_named_once(
    doubling: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_session, "_is_installed", lambda name: True)
    onnx_session._warn_of_a_clash.cache_clear()
    with pytest.warns(RuntimeWarning, match="pip uninstall onnxruntime onnxruntime-gpu") as caught:
        _ = [open_session(doubling) for _ in range(2)]
    assert len(caught) == 1
    monkeypatch.undo()
    onnx_session._warn_of_a_clash.cache_clear()
    assert not onnx_session._is_installed("no-such-distribution")
