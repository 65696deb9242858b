"""Writes one module as one ONNX file, and refuses to where the file disagrees with torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from perception.errors import ExportError, WeightsError
from perception.formats.atomic import part_of
from perception.onnx_session import open_session, runtime_errors

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
TOLERANCE = 1e-4

Case = Mapping[str, Tensor]
"""One set of inputs by name, in the module's order."""

Answer = Callable[[Case, Sequence[np.ndarray]], list[np.ndarray]]
"""A case and what a file gave for it -> what it should have given."""


def write_onnx(
    module: nn.Module,
    path: Path,
    cases: Sequence[Case],
    *,
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
    metadata: Mapping[str, str],
    tolerance: float = TOLERANCE,
    answer: Answer | None = None,
) -> float:
    """Exports ``module`` to ``path`` and returns the largest difference from torch over the cases.

    cases: the first one is traced, all are compared, so let them differ in every dynamic size.
    outputs: their names; dynamic: which axes of an input may have any size, "32*H" for multiples of
    32; metadata: goes into the file. Raises ExportError, and leaves nothing behind, where torch
    can't trace the module and where the file disagrees with it (``write_agreed``). The module is
    put into evaluation mode.
    """
    model = trace(module, cases[0], path.name, outputs=outputs, dynamic=dynamic)
    return write_agreed(
        model,
        module,
        path,
        cases,
        outputs=outputs,
        metadata=metadata,
        tolerance=tolerance,
        answer=answer,
    )


def trace(
    module: nn.Module,
    case: Case,
    name: str,
    *,
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> ModelProto:
    """The graph of a module, without notes of this machine; name: for ExportError."""
    with torch.inference_mode(False), torch.no_grad():
        program = _trace(module.eval(), case, name, outputs, dynamic)
    _strip(program)
    model: ModelProto = program.model_proto
    return model


def write_agreed(
    model: ModelProto,
    module: nn.Module,
    path: Path,
    cases: Sequence[Case],
    *,
    outputs: Sequence[str],
    metadata: Mapping[str, str],
    tolerance: float = TOLERANCE,
    answer: Answer | None = None,
) -> float:
    """Writes a graph if it gives what ``module`` gives, and returns the largest difference.

    answer: what the file should have given, where that depends on what it gave: of two things that
    rounding alone sets apart it may have taken either.

    The file takes its name only after it agreed: raises ExportError, and leaves nothing behind,
    where it can't be run, an output has another shape, or a difference exceeds ``tolerance``.
    """
    import onnx

    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    with part_of(path) as part:
        try:
            onnx.save(model, part)
        except ValueError as error:  # protobuf's limit
            raise ExportError(
                f"{path.name}: larger than 2 GB, which no ONNX file can be"
            ) from error
        worst = largest_difference(
            part, module, cases, outputs=outputs, name=path.name, answer=answer
        )
        if not worst <= tolerance:  # nan is refused as well
            raise ExportError(
                f"{path.name}: the graph differs from torch by {worst:.2g}, at most "
                f"{tolerance:g} is allowed: nothing was written"
            )
    return worst


def largest_difference(
    path: Path,
    module: nn.Module,
    cases: Sequence[Case],
    *,
    outputs: Sequence[str],
    name: str,
    answer: Answer | None = None,
) -> float:
    """How far a file's answers are from the module's over the cases; nan where a value is.

    Raises ExportError where the file can't be run, or an output has another shape.
    """
    module.eval()
    worst = 0.0
    for case, have in zip(cases, run_file(path, cases, outputs, name), strict=True):
        with torch.inference_mode(False), torch.no_grad():
            want = run_module(module, case) if answer is None else answer(case, have)
        for output, ours, theirs in zip(outputs, have, want, strict=True):
            difference = _difference(f'{name}: "{output}"', ours, theirs)
            worst = float(np.maximum(worst, difference))  # unlike max(), passes nan on
    return worst


def run_module(module: nn.Module, case: Case) -> list[np.ndarray]:
    """What torch gives for a case, in the order of the module's outputs."""
    answer = module(*case.values())
    tensors = answer if isinstance(answer, tuple) else (answer,)
    return [tensor.numpy() for tensor in tensors]


def _trace(
    module: nn.Module,
    case: Case,
    name: str,
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> torch.onnx.ONNXProgram:
    dims = {dim: _dim(dim) for axes in dynamic.values() for dim in axes.values()}
    shapes: list[Any] = [
        {axis: dims[dim] for axis, dim in dynamic.get(key, {}).items()} for key in case
    ]
    named = sum(p.kind != p.VAR_POSITIONAL for p in signature(module.forward).parameters.values())
    if named < len(shapes):  # torch wants those of *args as one
        shapes = [*shapes[:named], tuple(shapes[named:])]
    try:
        with warnings.catch_warnings():
            # Sizes that several inputs share have one name; it tells each time.
            warnings.filterwarnings("ignore", message=".*The axis name")
            program = torch.onnx.export(
                module,
                tuple(case.values()),
                input_names=list(case),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
                dynamic_shapes=tuple(shapes),
            )
    except torch.onnx.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise ExportError(f"{name}: torch can't trace {type(module).__name__}: {reason}") from error
    if program is None:
        raise ExportError(f"{name}: torch gave no graph for {type(module).__name__}")
    return program


def _dim(name: str) -> Any:
    """A dynamic size; "32*H": a multiple of 32."""
    factor, _, base = name.rpartition("*")
    return int(factor) * torch.export.Dim(base) if factor else torch.export.Dim(base)


def _strip(program: torch.onnx.ONNXProgram) -> None:
    """Removes what the exporter notes about each node: stack traces, with this machine's paths."""
    graph = program.model.graph
    for node in graph.all_nodes():
        node.doc_string = None
        node.metadata_props.clear()
    for value in (*graph.inputs, *(value for node in graph.all_nodes() for value in node.outputs)):
        value.metadata_props.clear()


def run_file(
    path: Path, cases: Sequence[Case], outputs: Sequence[str], name: str
) -> list[list[np.ndarray]]:
    """What ONNX Runtime gives for each case, in the order of ``outputs``; name: for ExportError."""
    failures: tuple[type[Exception], ...] = (WeightsError, *runtime_errors())
    try:
        session = open_session(path)
        inputs = [{name: value.numpy() for name, value in case.items()} for case in cases]
        return [list(session.run(list(outputs), values)) for values in inputs]
    except failures as error:
        reason = str(error).splitlines()[0]
        raise ExportError(f"{name}: the graph can't be run: {reason}") from error


def _difference(what: str, have: np.ndarray, want: np.ndarray) -> float:
    """The largest difference of one output; nan where a value is.

    It is a share of the largest value where that is above 1: float32 has seven digits, not four
    behind the point.
    """
    if have.shape != want.shape:
        raise ExportError(f"{what} has the shape {have.shape}, torch gives {want.shape}")
    scale = np.abs(want).max(initial=1.0)
    return float((np.abs(have - want) / scale).max(initial=0.0))
