"""Rooms import only from rooms below them, and the core needs no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import perception

PACKAGE = Path(perception.__file__).parent

# From low to high. A room imports from its own row and from the rows above it in this list.
ROWS = (
    ("errors", "defaults"),
    ("checks",),
    ("types",),
    ("imaging", "ops"),
    ("prompts",),
    ("instances",),
    ("checkpoints", "runtime"),
    ("detectors", "segmenters"),
    ("sam3",),
    ("predictor",),
    ("postprocess",),
    ("pipeline",),
    ("models", "api"),
    ("coco", "formats"),
    ("runs",),
    ("report",),
    ("evaluate",),
    ("serve",),
    ("cli", "__main__"),
)
# The convenience methods of a result import when they are called.
EXCEPTIONS = {("instances", "coco"), ("instances", "formats")}
# Lazy names, whatever room they are from.
FREE = {"__init__"}

FILES = sorted(PACKAGE.rglob("*.py"))


def row(room):
    return next(n for n, rooms in enumerate(ROWS) if room in rooms)


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(tree):
    """Rooms that a file imports when it runs; imports for type checking alone don't count."""
    rooms = set()
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped.update(id(child) for part in node.body for child in ast.walk(part))
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "perception":
            parts = node.module.split(".")
            rooms.update([parts[1]] if parts[1:] else [alias.name for alias in node.names])
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "perception":
                    rooms.update(parts[1:2])
    return rooms


def test_every_room_has_its_row():
    rooms = {room_of(path) for path in FILES} - FREE
    assert rooms == {room for rooms in ROWS for room in rooms}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = room_of(path)
    if room in FREE:
        return
    for other in imported_rooms(ast.parse(path.read_text("utf-8"))) - {room, "__version__"}:
        if (room, other) in EXCEPTIONS:
            continue
        assert row(other) <= row(room), f"{path} imports {other}, which is above it"
        assert {room, other} != {"detectors", "segmenters"}, f"{path} imports {other}"


def loaded_by(code, names):
    """Which of some modules a fresh interpreter has loaded after running ``code``."""
    script = f"import sys; {code}; print(sorted(set({names!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return ast.literal_eval(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "cv2", "numpy", "PIL", "onnxruntime", "supervision"]
    assert loaded_by("import perception", heavy) == []


def test_the_core_needs_no_torch():
    modules = (
        "perception.cli.run, perception.models.load, perception.formats.draw, "
        "perception.coco.write, perception.detectors.nano.onnx, perception.segmenters.sam.onnx, "
        "perception.detectors.load, perception.detectors.grounding_dino.onnx, "
        "perception.detectors.owlv2.onnx, perception.detectors.omdet_turbo.onnx"
    )
    assert loaded_by(f"import {modules}", ["torch", "torchvision", "transformers"]) == []


def test_the_public_names():
    assert set(perception.__all__) == {"__version__", *perception._HOME}
    assert perception.__all__ == sorted(perception.__all__)
    for name in perception.__all__:
        assert getattr(perception, name) is not None
    assert set(perception.__all__) <= set(dir(perception))
    assert perception.load.__module__ == "perception.models.load"
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = perception.lode


def test_errors_are_one_tree():
    from perception import errors

    tree = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert all(issubclass(kind, errors.PerceptionError) for kind in tree)
    assert issubclass(errors.PromptError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)
