"""``perception weights``: list, download, check and bring in published models."""

from __future__ import annotations

from collections.abc import Sequence

import click

from perception.cli.options import MODEL_NAME, Group


@click.group(
    cls=Group,
    short_help="Models by name: list, download, check.",
    examples=[
        ("perception weights list", "which there are, how large, under which licence"),
        ("perception weights pull base", "a detector and a segmenter for photographs"),
        ("perception weights import sam_vit_b_01ec64.pth", "a file from another machine"),
    ],
)
def weights() -> None:
    """Models by name: list, download, check, bring in from files."""


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def list_(as_json: bool) -> int:
    """List all models: size, licence, whether they are here, what they are for."""
    from perception.cli import weights_run

    return weights_run.run_list(as_json=as_json)


@weights.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=MODEL_NAME)
@click.option("-y", "--yes", is_flag=True, help="Agree to the licences without being asked.")
@click.option("-q", "--quiet", is_flag=True, help="No notes and no progress bar.")
def pull(names: Sequence[str], yes: bool, quiet: bool) -> int:
    """Download models: by name, as DETECTOR+SEGMENTER, or a preset (base, large, sam3).

    Goes on where an earlier download was ended. Into PERCEPTION_WEIGHTS, else into a folder of the
    user's cache; what the Hugging Face hub's own cache holds is used from there.
    """
    from perception.cli import weights_run

    return weights_run.run_pull(names, yes=yes, quiet=quiet)


@weights.command()
@click.argument("names", nargs=-1, metavar="[NAME...]", type=MODEL_NAME)
def verify(names: Sequence[str]) -> int:
    """Read the files of models again, all that are here by default, and compare their sha256."""
    from perception.cli import weights_run

    return weights_run.run_verify(names)


@weights.command("import")
@click.argument("source", metavar="FILE|FOLDER")
@click.option("--as", "name", metavar="NAME", help="Which model it is, where names don't tell.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def import_(source: str, name: str | None, quiet: bool) -> int:
    """Copy a model's files to where weights are kept, once they are known to be right.

    For a machine without network: FILE is a published checkpoint, FOLDER has the files of a
    repository of the Hugging Face hub.
    """
    from perception.cli import weights_run

    return weights_run.run_import(source, name=name, quiet=quiet)
