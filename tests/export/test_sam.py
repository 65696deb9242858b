"""SAM networks as ONNX files; the published export's fault is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from segment_anything.utils.onnx import SamOnnxModel
from segmenters.tiny import SIDE, add_noise, build_reference, build_tiny

from perception.errors import ExportError
from perception.imaging.preprocess import Frame
from perception.runtime.onnx_export import largest_difference, write_agreed
from perception.runtime.onnx_session import open_session
from perception.segmenters.sam.export import _reference_cases, export_reference
from perception.segmenters.sam.exportable import ReferenceDecoder, upsample
from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.onnx import SegmenterMetadata

pytestmark = pytest.mark.slow

OUTPUTS = ("masks", "iou_predictions", "low_res_masks")


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    sam = build_tiny()
    add_noise(sam)
    return sam


@pytest.fixture(scope="module", params=[False, True], ids=["four masks", "single mask"])
def exported(
    request: pytest.FixtureRequest, sam: Sam, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, bool]:
    folder = tmp_path_factory.mktemp("sam")
    (name,) = export_reference(sam, folder, name="tiny", prefix="tiny", single_mask=request.param)
    assert name == "tiny-segment-anything-decoder.onnx"
    return folder / name, request.param


def published(sam: Sam, *, single_mask: bool = False) -> SamOnnxModel:
    reference = build_reference()
    reference.load_state_dict(sam.state_dict())
    return SamOnnxModel(reference, return_single_mask=single_mask).eval()


@pytest.mark.parametrize("hw", [(64, 64), (48, 64), (20, 64), (200, 31), (333, 500), (1, 64)])
@pytest.mark.parametrize("places", [2, 3])
@pytest.mark.parametrize("has_mask", [0, 1])
def test_the_file_can_stand_in_for_the_published_export(
    sam: Sam, exported: tuple[Path, bool], hw: tuple[int, int], places: int, has_mask: int
) -> None:
    path, single_mask = exported
    generator = torch.Generator().manual_seed(3)
    inputs = {
        "image_embeddings": torch.randn(1, 32, 8, 8, generator=generator),
        "point_coords": torch.rand(1, places, 2, generator=generator) * SIDE,
        "point_labels": torch.tensor([[1.0, -1.0, 0.0][:places]]),
        "mask_input": torch.randn(1, 1, 32, 32, generator=generator),
        "has_mask_input": torch.tensor([float(has_mask)]),
        "orig_im_size": torch.tensor([float(n) for n in hw]),
    }
    have = open_session(path).run(None, {k: v.numpy() for k, v in inputs.items()})
    with torch.no_grad():
        model = published(sam, single_mask=single_mask)
        # The published post-processing takes an image of 1024; the tiny one is smaller.
        _, quality, low = model(**inputs)
        decoder = ReferenceDecoder(sam, single_mask=single_mask)
        masks, *_ = decoder(*inputs.values())
    count = 1 if single_mask else 4
    assert [array.shape for array in have] == [(1, count, *hw), (1, count), (1, count, 32, 32)]
    for ours, theirs in zip(have, (masks, quality, low), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4)


def test_outputs_come_in_the_published_order_for_callers_by_position(
    sam: Sam, exported: tuple[Path, bool]
) -> None:
    path, single_mask = exported
    session = open_session(path)
    assert [output.name for output in session.get_outputs()] == list(OUTPUTS)
    generator = torch.Generator().manual_seed(4)
    inputs = {
        "image_embeddings": torch.randn(1, 32, 8, 8, generator=generator),
        "point_coords": torch.rand(1, 2, 2, generator=generator) * SIDE,
        "point_labels": torch.tensor([[1.0, -1.0]]),
        "mask_input": torch.zeros(1, 1, 32, 32),
        "has_mask_input": torch.zeros(1),
        "orig_im_size": torch.tensor([50.0, 40.0]),
    }
    masks, quality, low = session.run(None, {k: v.numpy() for k, v in inputs.items()})
    count = 1 if single_mask else 4
    assert masks.shape == (1, count, 50, 40)
    assert quality.shape == (1, count)
    assert low.shape == (1, count, 32, 32)
    with torch.no_grad():
        want = ReferenceDecoder(sam, single_mask=single_mask)(*inputs.values())
    for ours, theirs in zip((masks, quality, low), want, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("hw", [(48, 80), (97, 33), (5, 64)])
def test_the_upsampling_is_the_published_predictors(hw: tuple[int, int]) -> None:
    logits = torch.randn(1, 4, 32, 32)
    frame = Frame(hw, SIDE)
    want = build_reference().postprocess_masks(logits, frame.resized_hw, hw)
    torch.testing.assert_close(upsample(logits, frame), want)


def test_the_published_export_bakes_one_aspect_ratio_in_and_is_refused(
    sam: Sam, tmp_path: Path
) -> None:
    """It turns the size of the image that it is traced with into a constant."""
    draw = torch.Generator().manual_seed(0)
    metadata = SegmenterMetadata("tiny", "1", SIDE, sam.embedding_shape)
    cases = list(_reference_cases(metadata, draw))
    path = tmp_path / "published.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            published(sam),
            tuple(cases[0].values()),
            str(path),
            input_names=list(cases[0]),
            output_names=list(OUTPUTS),
            dynamic_axes={"point_coords": {1: "K"}, "point_labels": {1: "K"}},
            opset_version=17,
            dynamo=False,
        )
    ours = ReferenceDecoder(sam, single_mask=False)
    square = [case for case in cases if case["orig_im_size"].tolist() == [SIDE, SIDE]]
    assert 0 < len(square) < len(cases)
    assert largest_difference(path, ours, square, outputs=OUTPUTS, name="published") <= 1e-4
    with pytest.raises(ExportError, match=r"differs from torch by .* nothing was written"):
        write_agreed(
            onnx.load(path), ours, tmp_path / "new.onnx", cases, outputs=OUTPUTS, metadata={}
        )
    assert not (tmp_path / "new.onnx").exists()
