"""The parts of SAM's network in the form that an ONNX file holds.

torch can't trace it for images of any size, so it is written out: SAM's two bilinear steps, with
every size computed in the graph from ``orig_im_size``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from perception.imaging.preprocess import Frame
from perception.segmenters.sam.cells import image_to_tensors, tensors_to_image
from perception.segmenters.sam.network import Sam

if TYPE_CHECKING:
    from onnx import ModelProto


class ExportableEncoder(nn.Module):
    """Normalised pixels 1 x 3 x S x S -> embedding 1 x C x h x w."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels 1 x 3 x S x S -> embedding 1 x C x h x w."""
        return self.sam.encode(pixels)


class ExportablePreparer(nn.Module):
    """An embedding -> what the decoder takes of the image."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """An embedding 1 x C x h x w -> the tensors of ``image_to_tensors``."""
        return tuple(image_to_tensors(self.sam.prepare(embedding)).values())


class ExportableDecoder(nn.Module):
    """P prompts of K places each on one prepared image -> the masks that are worth having."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.sam = sam

    def forward(
        self,
        coords: Tensor,
        labels: Tensor,
        least_quality: Tensor,
        earlier: Tensor,
        *prepared: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode; nothing here depends on P, K, E or the values.

        coords: P x K x 2 in pixels of the model's input, without the + 0.5; labels: P x K;
        least_quality: 4, what each of the four masks must reach; earlier: P x E x 4h x 4w, the
        logits of an earlier answer (E 1) or of none (E 0); prepared: an image, the tensors of
        ``image_to_tensors`` in their order.
        Returns logits N x 4h x 4w of the N masks that do, in the order of the prompts; which they
        are, N, as 4 * prompt + mask; quality P x 4 of all.
        """
        position = self.sam.prompt_encoder.image_position().flatten(2).transpose(1, 2)
        codes = self.sam.mask_decoder.transformer.prepare_codes(position)
        image = tensors_to_image(prepared, position, codes)
        return self.sam.decode_good(image, coords, labels, least_quality, earlier)


class ReferenceLogits(nn.Module):
    """What ``segment_anything``'s ONNX decoder computes before it upsamples.

    single_mask: of the four masks give only the one that the number of places calls for.
    """

    def __init__(self, sam: Sam, *, single_mask: bool) -> None:
        super().__init__()
        self.sam = sam
        self.single_mask = single_mask

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One prompt of K places on one image.

        image_embeddings: 1 x C x h x w; point_coords: 1 x K x 2 in pixels of the model's input;
        point_labels: 1 x K; mask_input: 1 x 1 x 4h x 4w; has_mask_input: 1, 0 or 1.
        Returns logits 1 x M x 4h x 4w and quality 1 x M, M = 4, or 1 of a single mask.
        """
        image = self.sam.prepare(image_embeddings, mask_input, has_mask_input, factored=False)
        logits, quality = self.sam.decode(image, point_coords, point_labels)
        if not self.single_mask:
            return logits, quality
        # Up to two places (a point and its padding) a prompt is ambiguous: the best candidate.
        places = torch.ones_like(point_labels).sum()
        is_single_answer = torch.tensor([1.0, 0.0, 0.0, 0.0], device=quality.device)
        best = (quality + (places - 2.5) * 1000 * is_single_answer).argmax(dim=1)
        rows = torch.arange(1, device=quality.device)
        return logits[rows, best][:, None], quality[rows, best][:, None]


class ReferenceDecoder(nn.Module):
    """``segment_anything``'s ONNX decoder as torch computes it, to compare a file with."""

    def __init__(self, sam: Sam, *, single_mask: bool) -> None:
        super().__init__()
        self.logits = ReferenceLogits(sam, single_mask=single_mask)
        self.side = sam.side

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those of ``ReferenceLogits``, then orig_im_size, 2 (H, W). Masks 1 x M x H x W first."""
        *prompt, orig_im_size = inputs
        low, quality = self.logits(*prompt)
        frame = Frame((int(orig_im_size[0]), int(orig_im_size[1])), self.side)
        return upsample(low, frame), quality, low


def upsample(logits: Tensor, frame: Frame) -> Tensor:
    """Logits 1 x M x 4h x 4w over the padded square -> 1 x M x H x W, in SAM's two steps."""
    height, width = frame.resized_hw
    square = F.interpolate(logits, (frame.side, frame.side), mode="bilinear", align_corners=False)
    inside = square[..., :height, :width]
    return F.interpolate(inside, frame.image_hw, mode="bilinear", align_corners=False)


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
