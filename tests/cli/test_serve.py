"""``perception serve`` up to where the service begins."""

import pytest

from perception.serve import server


@pytest.fixture
def served(monkeypatch, tmp_path):
    """What the service would be begun with, in place of it."""
    from fakes import HereReader

    seen = []

    def serve(app, listener):
        seen.append((app, listener.getsockname()))

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr("perception.serve.images.Reader", HereReader)
    monkeypatch.setenv("PERCEPTION_CACHE", str(tmp_path / "cache"))
    return seen


@pytest.fixture
def started(served, monkeypatch):
    from perception.cli.commands import status

    def run(*arguments, capfd):
        code = status(["serve", "--port", "0", *arguments])
        return code, *capfd.readouterr()

    return run


def test_on_loopback_no_token(started, served, pictures, capfd):
    code, out, err = started("in", "--text", "red star", capfd=capfd)
    assert code == 0
    ((_, (host, port)),) = served
    assert host == "127.0.0.1"
    lines = out.splitlines()
    assert lines[0] == f"http://127.0.0.1:{port}/  (Ctrl-C ends it)"
    assert lines[1].startswith("wrote in/annotations.json")
    assert (pictures / "in" / "annotations.json.run").is_file()
    assert err.startswith("note: nano is small")


def test_a_folder_that_is_missing_is_noticed_before_the_model_loads(
    started, pictures, capfd, monkeypatch
):
    from perception.serve import opening as served_model

    monkeypatch.setattr(served_model, "load_served", None)
    code, out, err = started("gone", capfd=capfd)
    assert (code, out) == (1, "")
    assert err == "perception: error: gone: no such folder; check the path\n"


def test_nothing_is_written_where_nothing_changed(started, pictures, capfd):
    started("in", capfd=capfd)
    _, out, _ = started("in", "-q", capfd=capfd)
    assert "wrote" not in out


@pytest.mark.parametrize("given", [(), ("--token", "correct-horse-battery")])
def test_beyond_loopback_a_token(started, served, pictures, capfd, given):
    code, out, _ = started("in", "--host", "0.0.0.0", *given, capfd=capfd)  # noqa: S104
    assert code == 0
    token = out.split("?token=")[1].split()[0]
    assert len(token) >= 20
    assert token == (given[1] if given else token)
    ((app, _),) = served
    assert app._access.token == token


def test_each_time_another_token(started, served, pictures, capfd):
    for _ in range(2):
        started("in", "--host", "0.0.0.0", capfd=capfd)  # noqa: S104
    assert served[0][0]._access.token != served[1][0]._access.token


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("none",), 1, "none: no such folder"),
        (("in", "--model", "nona"), 1, "did you mean nano?"),
        (("in", "--segmenter", "in"), 1, "no *-encoder.onnx in this folder"),
        (("in", "--token", "short"), 2, "--token has at least 12"),
        (("in", "--text", "!x"), 1, "only negatives"),
        (("in", "--host", "192.0.2.1"), 1, "can't be listened on"),
    ],
)
def test_what_is_wrong_is_said(started, served, pictures, capfd, arguments, status, words):
    code, _, err = started(*arguments, "-q" if status == 1 else "--quiet", capfd=capfd)
    assert code == status
    assert words in err
    assert len(err.splitlines()) == 1
    assert served == []


def test_without_the_extra(started, pictures, capfd, monkeypatch):
    from importlib import util

    right = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "fastapi" else right(name))
    code, _, err = started("in", capfd=capfd)
    assert code == 1
    assert err.strip().endswith("serve needs fastapi; pip install 'perception-masks[web]'")


def test_an_exported_segmenter(started, served, pictures, capfd):
    import shutil

    from perception.checkpoints.installed import data_folder

    (pictures / "exported").mkdir()
    for part in ("encoder", "preparer", "decoder"):
        source = data_folder() / f"nano-segmenter-{part}.onnx"
        shutil.copy(source, pictures / "exported" / f"mine-{part}.onnx")
    code, _, err = started("in", "--segmenter", "exported", capfd=capfd)
    assert (code, len(served)) == (0, 1)
    assert "nano is small" not in err
