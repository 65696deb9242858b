"""What help shows, and what a shell completes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from perception.cli.commands import cli, status
from perception.models.names import known_names

ROOT = Path(__file__).parents[2]
# As in the command list of a README that is read from top to bottom.
IN_ORDER = ("segment", "detect", "everything", "annotate", "serve", "weights", "evaluate", "export")


def commands(group: click.Group = cli, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*before, name))
        if isinstance(command, click.Group):
            found += commands(command, (*before, name))
    return found


def helped(capfd: pytest.CaptureFixture[str], *names: str) -> str:
    assert status([*names, "--help"]) == 0
    return capfd.readouterr().out


def test_examples_stand_before_the_options_and_commands_in_order_of_use(capfd) -> None:
    text = helped(capfd)
    places = [text.index("Examples:"), text.index("Options:"), text.index("Commands:")]
    assert places == sorted(places)
    rows = [text.index(f"\n  {name} ", places[2]) for name in IN_ORDER]
    assert rows == sorted(rows)
    assert "..." not in text[places[2] :]  # No description is cut off.


def examples() -> list[list[str]]:
    """Every example of every help, as its words."""
    import shlex

    found = []
    for names in [(), *commands()]:
        command: click.Command = cli
        for name in names:
            command = command.commands[name]
        for line, _ in command.examples:
            words = shlex.split(line)
            found.append(words[words.index("perception") + 1 :])
    return found


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_examples_can_be_read(words: list[str]) -> None:
    """Every command and option in an example is one that there is, with a value that it takes."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, *words = words
        command = command.commands[name]
    parent = click.Context(cli, **cli.context_settings)
    command.make_context(command.name, words, parent=parent)


def complete(words: str, incomplete: str, shell: str = "bash") -> list[tuple[str, str]]:
    """What the command line answers to a shell, as pairs of type and value."""
    environment = {
        **os.environ,
        "_PERCEPTION_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": f"{words} {incomplete}",
        "COMP_CWORD": incomplete if shell == "fish" else str(len(words.split())),
    }
    done = subprocess.run(
        [sys.executable, "-m", "perception"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    if shell == "zsh":
        lines = done.stdout.split("\n")
        return [(kind, value) for kind, value in zip(lines[::3], lines[1::3], strict=False)]
    rows = [line.partition(",") for line in done.stdout.splitlines()]
    return [(kind, value.split("\t")[0]) for kind, _, value in rows]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_are_completed(shell: str) -> None:
    assert complete("perception", "se", shell) == [("plain", "segment"), ("plain", "serve")]


def test_options_and_their_values_are_completed() -> None:
    assert ("plain", "--threshold") in complete("perception segment a.jpg", "--th")
    assert complete("perception annotate a --engine", "r") == [("plain", "ray")]


def test_models_are_completed_also_behind_a_plus() -> None:
    names = complete("perception segment a.jpg --model", "grounding-dino-")
    assert ("plain", "grounding-dino-tiny") in names
    assert {name for _, name in names} <= set(known_names())
    behind = complete("perception segment a.jpg --model", "nano+sam-vit-")
    assert [name for _, name in behind] == [f"nano+sam-vit-{size}" for size in "blh"]
    assert complete("perception weights pull", "bas") == [("plain", "base")]
    assert complete("perception segment a.jpg --model", "./my") == [("file", "./my")]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("perception segment", "file"),
        ("perception annotate photos --classes", "file"),
        ("perception annotate photos --images", "dir"),
        ("perception segment a.jpg --out", "dir"),
        ("perception evaluate coco", "file"),
        ("perception serve", "dir"),
    ],
)
def test_paths_are_left_to_the_shell(words: str, kind: str) -> None:
    assert complete(words, "ph")[-1] == (kind, "ph")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_help_names_is_one_that_the_shell_reads(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perception"],
        cwd=ROOT,
        env={**os.environ, "_PERCEPTION_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_PERCEPTION_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True)


def test_completion_is_quick_and_loads_no_model() -> None:
    code = (
        "import sys; from perception.cli import commands; "
        "print(sorted({'numpy', 'cv2', 'onnxruntime', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
