"""The upsampling that ``segment_anything``'s ONNX decoder does after its masks, as a graph.

torch can't trace it for pictures of any size, so it is written out: SAM's two bilinear steps, with
every size computed in the graph from ``orig_im_size``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
"""What ``segment_anything``'s export gives, in its order."""

_GRAPH = """
<ir_version: 9, opset_import: ["" : 18]>
upsampling (float[1, M, l, l] logits, float[2] orig_im_size) => (float[1, M, H, W] masks)
<double side = {SIDE}, double half = {0.5}, int64[2] square = {SIDE, SIDE},
 int64[1] zero = {0}, int64[1] two = {2}, int64[2] origin = {0, 0}, int64[2] axes = {2, 3}>
{
    hw = Cast<to = 11>(orig_im_size)
    longer = ReduceMax<keepdims = 1>(hw)
    scale = Div(side, longer)
    scaled = Mul(hw, scale)
    moved = Add(scaled, half)
    floored = Floor(moved)
    inside = Cast<to = 7>(floored)
    full = Cast<to = 7>(orig_im_size)
    all_sizes = Shape(logits)
    lead = Slice(all_sizes, zero, two)
    square_sizes = Concat<axis = 0>(lead, square)
    full_sizes = Concat<axis = 0>(lead, full)
    padded = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">
        (logits, , , square_sizes)
    cropped = Slice(padded, origin, inside, axes)
    masks = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">
        (cropped, , , full_sizes)
}
"""


def append_upsampling(model: ModelProto, *, side: int) -> ModelProto:
    """A decoder that gives ``low_res_masks``, 1 x M x 4h x 4w -> one that gives ``masks`` too.

    It takes another input, ``orig_im_size``, 2 floats (H, W), and ``masks`` are 1 x M x H x W
    logits; side: of the model's square input in pixels. Outputs come in the order of
    ``segment_anything``'s own export (``OUTPUTS``), because its callers take them by position.
    """
    import onnx.compose
    import onnx.parser

    tail = onnx.parser.parse_model(_GRAPH.replace("SIDE", str(side)))
    merged: ModelProto = onnx.compose.merge_models(
        _of_version(model, tail.ir_version),
        onnx.compose.add_prefix(tail, "up_", rename_inputs=False, rename_outputs=False),
        io_map=[("low_res_masks", "logits")],
        outputs=list(OUTPUTS),
    )
    # ``merge_models`` keeps the graphs' order, whatever the order of the names it is given.
    by_name = {output.name: output for output in merged.graph.output}
    ordered = [by_name[name] for name in OUTPUTS]
    del merged.graph.output[:]
    merged.graph.output.extend(ordered)
    return merged


def _of_version(model: ModelProto, ir_version: int) -> ModelProto:
    """The model marked with an older IR version: two are merged only if theirs are equal."""
    model.ir_version = ir_version
    return model
