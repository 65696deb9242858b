"""``perception serve``: the click page."""

from __future__ import annotations

from pathlib import Path

import click

from perception.cli.options import Command, model_options, threads_option, threshold_option

_LEAST_TOKEN = 12


@click.command(
    cls=Command,
    short_help="Mark images in a browser: clicks, boxes, words.",
    examples=[
        ('perception serve photos --text "cat. dog"', "then open the address that it prints"),
        ("perception serve photos --model sam-vit-b", "clicks answered by a larger model"),
    ],
)
@click.argument("folder", required=False, default=".", metavar="[FOLDER]")
@click.option(
    "--out",
    metavar="FILE",
    help="COCO file; FILE.run beside it holds what was found and marked.  "
    "[default: annotations.json in FOLDER]",
)
@click.option("--text", help='Classes to begin with, such as "cat. vehicle: car | truck".')
@model_options
@click.option(
    "--segmenter",
    metavar="DIR",
    help="Folder that perception export wrote: its segmenter takes the place of the model's.",
)
@threshold_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes any that is free.",
)
@click.option(
    "--token",
    help="What whoever asks must show.  [default: none on loopback, else one is made and printed]",
)
@threads_option
@click.option("--overwrite", is_flag=True, help="Begin anew: forget an earlier run to --out.")
@click.option("-q", "--quiet", is_flag=True, help="No notes.")
def serve(
    folder: str,
    out: str | None,
    text: str | None,
    model: str,
    device: str,
    precision: str,
    segmenter: str | None,
    threshold: float,
    host: str,
    port: int,
    token: str | None,
    threads: int,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Mark images of a folder in a browser, with clicks, boxes and words.

    Goes on where an earlier run to --out was ended, also one of annotate. Ctrl-C ends it and writes
    the COCO file.
    """
    if token is not None and (len(token) < _LEAST_TOKEN or not token.isascii()):
        raise click.UsageError(f"--token has at least {_LEAST_TOKEN} ASCII characters")
    from perception.cli.serve_run import run_serve

    return run_serve(
        Path(folder),
        Path(out) if out is not None else Path(folder) / "annotations.json",
        text=text or "",
        model=model,
        device=device,
        precision=precision,
        segmenter=Path(segmenter) if segmenter is not None else None,
        threshold=threshold,
        host=host,
        port=port,
        token=token or "",
        threads=threads,
        overwrite=overwrite,
        quiet=quiet,
    )
