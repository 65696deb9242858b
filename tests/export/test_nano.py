from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectors.tiny import IMAGE, PHOTO, PHOTO_SIDE, PIECES, SIDE, TEXT, export_tiny

from perception.detectors.nano import spec as onnx_metadata
from perception.detectors.nano.spec import DetectorMetadata
from perception.runtime.onnx_session import open_session
from perception.segmenters.nano import NanoImageEncoder, TwoTrunkEncoder
from perception.segmenters.sam.export import export_fast
from perception.segmenters.sam.mask_decoder import MaskDecoder
from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.onnx import OnnxSegmenter
from perception.segmenters.sam.prompt_encoder import PromptEncoder
from perception.segmenters.sam.transformer import TwoWayTransformer
from perception.segmenters.torch_segmenter import TorchSegmenter
from perception.types import Prompt

pytestmark = pytest.mark.slow

CHANNELS = 16
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["one trunk", "two trunks"])
def sam(request: pytest.FixtureRequest) -> Sam:
    torch.manual_seed(0)
    own = NanoImageEncoder(
        widths=(4, 8, 8, 16, 16), depths=(1, 1, 1, 1), merge_depth=1, channels=CHANNELS
    )
    has_fine = request.param == "two trunks"
    encoder = TwoTrunkEncoder(own, fine=CHANNELS // 4, fine_width=8) if has_fine else own
    if isinstance(encoder, TwoTrunkEncoder):
        torch.nn.init.normal_(encoder.fine[-1].weight)  # as if it had learned
    return Sam(
        encoder,
        PromptEncoder(
            channels=CHANNELS, image_size=SIDE, embedding_size=SIDE // 8, mask_channels=8
        ),
        MaskDecoder(
            TwoWayTransformer(depth=1, channels=CHANNELS, heads=2, hidden=16),
            channels=CHANNELS,
            quality_depth=2,
            quality_hidden=16,
        ),
        has_fine=has_fine,
    ).eval()


@pytest.fixture(scope="module")
def segmenter(sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("segmenter")
    return folder, export_fast(sam, folder, name="tiny", prefix="small")


def test_the_detector_files_agree_with_torch() -> None:
    folder, worst = export_tiny()
    assert list(worst) == [TEXT, IMAGE, PHOTO]
    assert all(0 <= difference < 1e-3 for difference in worst.values())
    assert {TEXT, IMAGE, PHOTO} <= {file.name for file in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "part", "side"),
    [
        (TEXT, onnx_metadata.TEXT, SIDE),
        (IMAGE, onnx_metadata.IMAGE, SIDE),
        (PHOTO, onnx_metadata.PHOTO, PHOTO_SIDE),
    ],
)
def test_the_detector_files_say_what_they_are(name: str, part: str, side: int) -> None:
    path = export_tiny()[0] / name
    values = open_session(path).get_modelmeta().custom_metadata_map
    have = DetectorMetadata.from_map(values, part, path=name)
    assert have == DetectorMetadata("nano", "2", side, len(PIECES))


def test_the_segmenter_files_agree_with_torch(segmenter: tuple[Path, dict[str, float]]) -> None:
    folder, worst = segmenter
    assert list(worst) == ["small-encoder.onnx", "small-preparer.onnx", "small-decoder.onnx"]
    assert sorted(worst) == sorted(file.name for file in folder.iterdir())
    assert all(0 <= difference < 1e-4 for difference in worst.values())


@pytest.mark.parametrize("size", [(SIDE, SIDE), (20, 31), (90, 200)])
def test_the_segmenter_files_run(
    sam: Sam, segmenter: tuple[Path, dict[str, float]], size: tuple[int, int]
) -> None:
    files = (segmenter[0] / f"small-{part}.onnx" for part in ("encoder", "preparer", "decoder"))
    have, want = OnnxSegmenter(*files, threads=1), TorchSegmenter(sam, name="tiny", version="1")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    prompt = Prompt(boxes=[[1, 2, 15, 12], [0, 0, 9, 9]])
    ours = have.decode(have.encode(image), prompt)
    theirs = want.decode(want.encode(image), prompt)
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(ours.quality, theirs.quality, rtol=0, atol=1e-4)


def test_nothing_of_this_machine_is_in_any_file(
    segmenter: tuple[Path, dict[str, float]],
) -> None:
    for path in (*export_tiny()[0].glob("*.onnx"), *segmenter[0].glob("*.onnx")):
        data = path.read_bytes()
        for trace in (sys.prefix, str(REPOSITORY), "site-packages", ".py"):
            assert trace.encode() not in data, path.name
