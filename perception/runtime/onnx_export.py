"""Writing a module as an ONNX file, in fp32 or int8, only if it gives what torch gives."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from perception.errors import ExportError, WeightsError
from perception.runtime.files import part_of
from perception.runtime.onnx_session import open_session, runtime_errors

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


LEAST_COSINE = 0.998
"""Of the outputs with torch's. Int8 answers differ by more than rounding, so they are compared by
direction. Masks of an embedding at 0.9998 overlap those of fp32 by 0.99 and more.
"""


def write_int8(
    source: Path, path: Path, module: nn.Module, cases: Sequence[Case], *, outputs: Sequence[str]
) -> float:
    """Writes ``source`` with int8 weights to ``path``; returns its least cosine with torch.

    Each output channel of a weight has its own scale; activations are scaled as they come, so no
    images are needed to calibrate. Products of two activations, as in attention, stay fp32.
    Raises ExportError, and leaves nothing behind, where an answer is below ``LEAST_COSINE``. On a
    processor without VNNI (or its like on ARM) sums of products can saturate: then it refuses, too.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises by the root logger to prepare the file; what it advises changes nothing here.
    logging.disable(logging.WARNING)
    try:
        with part_of(path) as part:
            quantize_dynamic(
                source,
                part,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["MatMul", "Gemm"],
                extra_options={"MatMulConstBOnly": True},
            )
            least = _least_cosine(part, module, cases, outputs, path.name)
            if not least >= LEAST_COSINE:  # nan is refused as well
                raise ExportError(
                    f"{path.name}: with int8 weights the answers agree with torch's to a cosine of "
                    f"{least:.6f}, at least {LEAST_COSINE} is wanted: nothing was written"
                )
    finally:
        logging.disable(logging.NOTSET)
    return least


def _least_cosine(
    path: Path, module: nn.Module, cases: Sequence[Case], outputs: Sequence[str], name: str
) -> float:
    with torch.inference_mode(False), torch.no_grad():
        wanted = [run_module(module.eval(), case) for case in cases]
    least = 1.0
    for have, want in zip(run_file(path, cases, outputs, name), wanted, strict=True):
        for ours, theirs in zip(have, want, strict=True):
            a, b = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
            least = float(np.minimum(least, a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    return least


CELLS_TOLERANCE = 1e-3
"""More than elsewhere: rounding grows through layers that choose places by what they saw."""


def fits_of_chosen(fits: Tensor, chosen: Tensor) -> Tensor:
    """How well the cells that a file chose fit, Q of N; nan where it chose others than the best.

    Of hundreds of cells some fit equally well but for rounding, and so may change places.
    """
    best, own = torch.topk(fits, len(chosen)).values, fits[chosen]
    wrong = (best - own).abs() > CELLS_TOLERANCE * fits.abs().max().clamp(min=1)
    return own.masked_fill(wrong, torch.nan)
