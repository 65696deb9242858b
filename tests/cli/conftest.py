"""A command line whose models look at colors, in a folder with images."""

import pytest
from fakes import color_model, drawing
from PIL import Image

from perception.cli.commands import status
from perception.models import load as loading


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    Image.fromarray(drawing()).save(tmp_path / "in" / "a.png")
    Image.fromarray(drawing(things=[("red", (60, 20, 100, 50))])).save(tmp_path / "in/sub/a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def perception(pictures, monkeypatch, capfd):
    """Runs the command line: arguments in, (status, standard output, standard error) out."""
    loaded, places = [], []

    def load(name, *, device, precision, threads):
        loaded.append((name, threads))
        places.append((device, precision))
        return color_model()

    monkeypatch.setattr(loading, "load", load)

    def run(*arguments):
        code = status(list(arguments))
        return code, *capfd.readouterr()

    run.loaded, run.places = loaded, places
    return run
