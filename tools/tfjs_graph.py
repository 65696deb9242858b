"""Reads a TensorFlow.js graph model: its weights, its nodes, and what they compute.

A graph model is a JSON file (nodes in ``modelTopology``, the table of weights in
``weightsManifest``) and files of raw bytes beside it. Only what convolutional networks need is
understood; anything else is refused by name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "?", "uint8": "u1"}


@dataclass(frozen=True)
class Node:
    """One operation. inputs: names of nodes, ":k" behind a name for its k-th output."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def numbers(self, name: str) -> list[int]:
        """An attribute that is a list of integers."""
        return [int(value) for value in self.attributes[name]["list"].get("i", [])]

    def text(self, name: str) -> str:
        """An attribute that is a string, which the format keeps in base64."""
        return base64.b64decode(self.attributes[name]["s"]).decode("ascii")

    def flag(self, name: str) -> bool:
        return bool(self.attributes.get(name, {}).get("b", False))


@dataclass(frozen=True)
class Graph:
    """nodes by name, in the file's order; weights: of the nodes called Const."""

    nodes: Mapping[str, Node]
    weights: Mapping[str, np.ndarray]

    def convolutions(self) -> Iterator[tuple[Node, np.ndarray, np.ndarray]]:
        """Each 2-D convolution, its kernel (h x w x in x out) and the bias that is added to it."""
        users = {node.inputs[0]: node for node in self.nodes.values() if node.op in ADDS}
        for node in self.nodes.values():
            if node.op == "Conv2D":
                if node.name not in users:
                    raise SystemExit(f"{node.name}: a convolution without a bias isn't expected")
                bias = self.weights[users[node.name].inputs[1]]
                yield node, self.weights[node.inputs[1]], bias.reshape(-1)

    def run(self, inputs: Mapping[str, Tensor], outputs: list[str]) -> list[Tensor]:
        """What the nodes ``outputs`` compute from the placeholders' values."""
        values: dict[str, list[Tensor]] = {name: [value] for name, value in inputs.items()}
        values |= {name: [torch.from_numpy(value)] for name, value in self.weights.items()}

        def value(name: str) -> Tensor:
            base, _, place = name.partition(":")
            return values[base][int(place or 0)]

        def needed(name: str) -> None:
            # Iterative: a network's graph is deeper than Python's stack.
            stack = [name.partition(":")[0]]
            while stack:
                node = self.nodes[stack[-1]]
                if node.name in values:
                    stack.pop()
                    continue
                names = [one.partition(":")[0] for one in node.inputs]
                missing = [one for one in names if one not in values]
                if missing:
                    stack += missing
                    continue
                if node.op not in OPERATIONS:
                    raise SystemExit(f"{node.name}: the operation {node.op} isn't understood")
                found = OPERATIONS[node.op](node, *map(value, node.inputs))
                values[node.name] = found if isinstance(found, list) else [found]

        for name in outputs:
            needed(name)
        return [value(name) for name in outputs]


def read_graph(path: Path) -> Graph:
    """The graph of a JSON file; the weights' files lie beside it."""
    text = json.loads(path.read_text(encoding="utf-8"))
    if text.get("format") != "graph-model":
        raise SystemExit(f"{path}: not a TensorFlow.js graph model")
    nodes = {
        row["name"]: Node(row["name"], row["op"], tuple(row.get("input", ())), row.get("attr", {}))
        for row in text["modelTopology"]["node"]
    }
    weights: dict[str, np.ndarray] = {}
    for group in text["weightsManifest"]:
        data = b"".join((path.parent / name).read_bytes() for name in group["paths"])
        weights |= _weights(data, group["weights"], path)
    return Graph(nodes, weights)


def _weights(data: bytes, rows: list[dict[str, Any]], path: Path) -> dict[str, np.ndarray]:
    """One group's weights, which lie one after another."""
    weights = {}
    start = 0
    for row in rows:
        kind = np.dtype(DTYPES[row["dtype"]])
        packed = row.get("quantization")
        stored = np.dtype(packed["dtype"]) if packed else kind
        count = int(np.prod(row["shape"], dtype=np.int64))
        end = start + count * stored.itemsize
        if end > len(data):
            raise SystemExit(f"{path}: its weights end in the middle of {row['name']}")
        values = np.frombuffer(data[start:end], stored).astype(kind)
        if packed and "scale" in packed:
            values = values * kind.type(packed["scale"]) + kind.type(packed["min"])
        weights[row["name"]] = values.reshape(row["shape"])
        start = end
    if start != len(data):
        raise SystemExit(f"{path}: {len(data) - start} bytes of its weights belong to nothing")
    return weights


def _conv(node: Node, x: Tensor, kernel: Tensor) -> Tensor:
    """NHWC, as TensorFlow has it; the padding is done by nodes of its own."""
    if node.text("padding") != "VALID" or set(node.numbers("dilations")) != {1}:
        raise SystemExit(f"{node.name}: only convolutions without padding are understood")
    out = F.conv2d(
        x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), stride=node.numbers("strides")[1:3]
    )
    return out.permute(0, 2, 3, 1)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    if node.text("padding") != "VALID":
        raise SystemExit(f"{node.name}: only pooling without padding is understood")
    size, step = node.numbers("ksize")[1:3], node.numbers("strides")[1:3]
    return F.max_pool2d(x.permute(0, 3, 1, 2), size, step).permute(0, 2, 3, 1)


def _pad(_: Node, x: Tensor, amounts: Tensor, value: Tensor | None = None) -> Tensor:
    flat = [int(number) for pair in reversed(amounts.tolist()) for number in pair]
    return F.pad(x, flat, value=0.0 if value is None else float(value))


def _resize(node: Node, x: Tensor, size: Tensor) -> Tensor:
    if not node.flag("half_pixel_centers") or node.flag("align_corners"):
        raise SystemExit(f"{node.name}: only resizing at half-pixel centers is understood")
    out = F.interpolate(x.permute(0, 3, 1, 2), size=size.tolist(), mode="bilinear")
    return out.permute(0, 2, 3, 1)


def _split(_: Node, x: Tensor, sizes: Tensor, axis: Tensor) -> list[Tensor]:
    return list(x.split(sizes.tolist(), dim=int(axis)))


def _sparse_to_dense(_: Node, at: Tensor, size: Tensor, values: Tensor, rest: Tensor) -> Tensor:
    dense = torch.full(size.tolist(), int(rest), dtype=rest.dtype)
    for place, value in zip(at.tolist(), values.tolist(), strict=True):
        dense[tuple(place)] = value
    return dense


ADDS = ("Add", "AddV2", "BiasAdd")
OPERATIONS = {
    **dict.fromkeys(ADDS, lambda _, a, b: a + b),
    "ConcatV2": lambda _, *parts: torch.cat(parts[:-1], dim=int(parts[-1])),
    "Conv2D": _conv,
    "Identity": lambda _, x: x,
    "LeakyRelu": lambda node, x: F.leaky_relu(x, node.attributes["alpha"]["f"]),
    "MaxPool": _max_pool,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": lambda _, x, shape: x.reshape(shape.tolist()),
    "ResizeBilinear": _resize,
    "Sigmoid": lambda _, x: x.sigmoid(),
    "SparseToDense": _sparse_to_dense,
    "SplitV": _split,
    "Transpose": lambda _, x, order: x.permute(order.tolist()),
}
"""What a node gives: one tensor, or a list of several."""
