"""The same run on a Ray cluster: two actors on this machine, one cluster for all tests."""

import os
import signal
import sys
import zipfile
from functools import partial

import numpy as np
import pytest
from fakes import color_model, drawing
from PIL import Image

from perception.cli.commands import status
from perception.errors import MissingExtraError, RunError
from perception.runs.annotate import Summary, annotate
from perception.runs.merging import shards_root
from perception.runs.ray_engine import RayEngine
from perception.runs.read import RunReader, run_path
from perception.runs.records import Counts

TEXT = "red thing: red, sky: blue. green"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray = pytest.importorskip("ray", reason="the extra [ray] isn't installed")
    pytest.importorskip("pyarrow", reason="the extra [ray] isn't installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=2,  # Ray counts what it is told: no actor here computes on one.
            include_dashboard=False,
            log_to_driver=False,
        )
    yield
    assert ray.is_initialized()  # A cluster that isn't the engine's own is left alone.
    ray.shutdown()


@pytest.fixture
def many(tmp_path):
    """12 small images, one that is cut off."""
    numbers = np.random.default_rng(0)
    (tmp_path / "in" / "süb").mkdir(parents=True)
    for n in range(12):
        things = [(c, (x, y, x + 12, y + 9)) for c, (x, y) in _places(numbers)]
        Image.fromarray(drawing(64, 64, things)).save(tmp_path / "in" / "süb" / f"{n}\n.png")
    (tmp_path / "in" / "cut.png").write_bytes(b"\x89PNG")
    return tmp_path / "in"


def _places(numbers):
    return [(color, numbers.integers(0, 50, 2)) for color in ("red", "green", "blue")]


def run(folder, out, text=TEXT, *, load=color_model, **options):
    engine = RayEngine(load, workers=2, batch=2)
    return annotate(color_model, [str(folder)], text, out, engine=engine, **options)


def local(folder, out, text=TEXT):
    annotate(color_model, [str(folder)], text, out, workers=1)
    return out.read_bytes()


def dying(marker):
    """A model whose first call on any actor kills its process."""
    model = color_model()
    right = model.detector.candidates

    def candidates(images, phrases, *, floor):
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return right(images, phrases, floor=floor)
        return os.kill(os.getpid(), signal.SIGKILL)

    model.detector.candidates = candidates
    return model


def test_the_same_file_as_the_local_engine(many, tmp_path):
    told = []
    out = tmp_path / "o u#t%é.json"
    summary = run(many, out, watch=lambda counts: told.append(counts) or told.extend)
    assert summary.counts == Counts(done=12, failed=1)
    assert summary.failures[0][2] == "cut.png"
    assert told[0] == Counts(waiting=13)
    assert len(told) == 14
    assert out.read_bytes() == local(many, tmp_path / "local.json")
    assert not shards_root(run_path(out)).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_that_is_killed_changes_nothing(many, tmp_path):
    marker = tmp_path / "killed"
    run(many, tmp_path / "out.json", load=partial(dying, marker))
    assert marker.exists()
    expected = local(many, tmp_path / "local.json")
    assert (tmp_path / "out.json").read_bytes() == expected


def test_new_classes_on_a_local_run(many, tmp_path):
    out = tmp_path / "out.json"
    local(many, out, "red")
    run(many, out)
    assert out.read_bytes() == local(many, tmp_path / "local.json")


def test_masks_that_were_left_out(many, tmp_path):
    out = tmp_path / "out.json"
    annotate(color_model, [str(many)], TEXT, out, workers=1, threshold=0.95)
    told = []
    run(many, out, watch=lambda counts: told.append(counts) or told.extend)
    assert told[0] == Counts(waiting=12, failed=1)
    assert out.read_bytes() == local(many, tmp_path / "local.json")


def test_a_url(pictures, tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in sorted(pictures.rglob("*.png")):
            archive.write(path, path.relative_to(pictures))
    summary = run(f"zip://::file://{tmp_path}/in.zip", tmp_path / "out.json")
    assert summary.counts == Counts(done=3)
    assert (tmp_path / "out.json").read_bytes() == local(pictures, tmp_path / "local.json")
    with RunReader(run_path(tmp_path / "out.json")) as stored:
        assert stored.settings["pictures"].startswith("zip://")


def test_a_model_that_is_not_the_runs(pictures, tmp_path):
    with pytest.raises(RunError, match=r"other settings \(weights fake.onnx 0000.*now 1111") as one:
        run(pictures, tmp_path / "out.json", load=other_model)
    assert len(str(one.value).splitlines()) == 1


def other_model():
    model = color_model()
    return type(model)(model.detector, model.predictor, {"fake.onnx": "1" * 64})


def test_the_command(tmp_path, monkeypatch, capfd):
    """With the embedded model: the cluster's actors load it by its name."""
    scene = np.full((96, 128, 3), 255, np.uint8)
    scene[20:60, 30:80] = (220, 20, 20)
    (tmp_path / "in").mkdir()
    Image.fromarray(scene).save(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    words = ["annotate", "in", "--text", "red square", "-q", "--out"]
    assert status([*words, "out.json", "--engine", "ray", "--workers", "1"]) == 0
    assert capfd.readouterr().out.startswith("wrote out.json: 1 image")
    assert status([*words, "local.json"]) == 0
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "local.json").read_bytes()


def noting(folder):
    """A model that notes which GPUs its actor has."""
    import ray

    model = color_model()
    right = model.detector.candidates

    def candidates(images, phrases, *, floor):
        (folder / str(os.getpid())).write_text(",".join(map(str, ray.get_gpu_ids())))
        return right(images, phrases, floor=floor)

    model.detector.candidates = candidates
    return model


@pytest.mark.parametrize(("gpus", "each"), [(None, 1), (0, 0)])
def test_a_gpu_for_each_worker(pictures, tmp_path, gpus, each):
    (tmp_path / "actors").mkdir()
    said = []
    load = partial(noting, tmp_path / "actors")
    engine = RayEngine(load, batch=1, gpus=gpus, note=said.append)
    annotate(color_model, [str(pictures)], TEXT, tmp_path / "out.json", engine=engine)
    own = [path.read_text() for path in (tmp_path / "actors").iterdir()]
    assert all(len(ids.split(",") if ids else []) == each for ids in own)
    assert len(own) > 0
    assert len(set(own)) == (len(own) if each else 1)  # No two share one.
    assert said == (["the cluster has 2 GPUs: each worker takes one; --device cpu computes on "
                     "the CPUs"] if gpus is None else [])  # fmt: skip


def test_a_cluster_without_gpus_says_so():
    said = []
    assert RayEngine(color_model, gpus=None, note=said.append)._gpus(0) == 0
    assert said == ["the cluster has no GPU: the model computes on the CPUs"]


@pytest.mark.parametrize(
    ("device", "gpus", "named"),
    [("auto", None, "auto"), ("cpu", 0, "cpu"), ("cuda:1", 1, "cuda"), ("nano", 0, "auto")],
)
def test_what_a_device_means_on_a_cluster(pictures, tmp_path, monkeypatch, device, gpus, named):
    """Of a model that torch runs; nano, with the runtime for CPUs, can't use a GPU."""
    engines = []
    monkeypatch.setattr(
        "perception.cli.annotate_run.annotate",
        lambda *_, engine, **__: engines.append(engine) or Summary(Counts(), 0, 0, ()),
    )
    model, device = ("nano", "auto") if device == "nano" else ("base", device)
    words = ["annotate", str(pictures), "--text", "cat", "--engine", "ray", "-q"]
    words += ["--out", str(tmp_path / "o.json"), "--model", model, "--device", device]
    assert status(words) == 0
    assert (engines[0].gpus, engines[0].load.keywords["device"]) == (gpus, named)


def test_no_cluster_for_clients():
    with pytest.raises(RunError, match="ray://head:10001: this is for a machine of the cluster"):
        RayEngine(color_model, address="ray://head:10001")


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(
        MissingExtraError, match=r"needs Ray: pip install 'perception-masks\[ray\]'"
    ):
        RayEngine(color_model)
