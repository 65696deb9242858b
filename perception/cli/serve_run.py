"""Running ``perception serve``: opens all that it needs, says where it is, closes it again."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path

import click

from perception.cli import weights_run
from perception.cli.run import NANO_NOTE
from perception.defaults import MODEL
from perception.errors import ImageError, MissingExtraError
from perception.imaging.read import printable

_NEEDED = ("fastapi", "uvicorn", "platformdirs", "python_multipart")


def run_serve(
    folder: Path,
    out: Path,
    *,
    text: str,
    model: str,
    device: str,
    precision: str,
    segmenter: Path | None,
    threshold: float,
    host: str,
    port: int,
    token: str,
    threads: int,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Serves until it is interrupted; returns the exit status."""
    _check_extra()
    from perception.serve.encoder import EmbeddingCache, cache_folder
    from perception.serve.middleware import Access, is_loopback
    from perception.serve.opening import load_served, open_run
    from perception.serve.page_files import page_folder, runtime_files
    from perception.serve.server import build_app, listen, serve
    from perception.serve.service import Service

    if not folder.is_dir():
        raise ImageError(f"{printable(str(folder))}: no such folder; check the path")
    weights_run.offer(model, segmenter=segmenter)
    if not token and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    if model == MODEL and segmenter is None and not quiet:
        click.echo(NANO_NOTE, err=True)
    with listen(host, port) as listener:
        served = load_served(
            model, segmenter=segmenter, device=device, precision=precision, threads=threads
        )
        with open_run(
            folder,
            out,
            served.model,
            text=text,
            threshold=threshold,
            overwrite=overwrite,
            note=lambda line: None if quiet else click.echo(f"note: {line}", err=True),
        ) as run:
            cache = EmbeddingCache(cache_folder())
            service = Service(run, served, out, cache=cache, threshold=threshold)
            with closing(service):
                port = listener.getsockname()[1]
                access = Access(host, token, f"perception-{port}")
                if not quiet and not runtime_files(page_folder()):
                    click.echo(_NO_RUNTIME, err=True)
                click.echo(f"{_address(host, port, token)}  (Ctrl-C ends it)")
                serve(build_app(service, access), listener)
                # What nobody has changed stays as whoever wrote it left it.
                if service.changed or not out.exists():
                    instances, pictures = service.save()
                    counts = ((pictures, "image"), (instances, "instance"))
                    words = ", ".join(f"{n:,} {one}{'' if n == 1 else 's'}" for n, one in counts)
                    click.echo(f"wrote {printable(str(out))}: {words}")
    return 0


_NO_RUNTIME = (
    "note: onnxruntime-web isn't installed, so this service answers the page's clicks itself; in a "
    "checkout: npm ci --prefix demos/click"
)


def _address(host: str, port: int, token: str) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}/{f'?token={token}' if token else ''}"


def _check_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"perception serve needs {' and '.join(missing)}; pip install 'perception-masks[web]'"
        )
