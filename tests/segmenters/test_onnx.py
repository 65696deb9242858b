from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from perception.errors import PromptError, WeightsError
from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.onnx import OnnxSegmenter
from perception.segmenters.torch_segmenter import TorchSegmenter
from perception.types import ImageArray, Prompt

from .tiny import METADATA

pytestmark = pytest.mark.slow

Draw = Callable[[int, int], ImageArray]
Files = tuple[Path, Path, Path]

ONE_MASK = np.random.default_rng(0).normal(size=(1, 32, 32))
THREE_MASKS = np.random.default_rng(0).normal(size=(3, 32, 32))
THREE_BOXES = [[0, 0, 5, 5], [3, 2, 20, 15], [10, 1, 12, 18]]
PROMPTS = {
    "nothing": Prompt(),
    "point": Prompt(points=[[3, 4]]),  # P 1, K 2
    "point and earlier mask": Prompt(points=[[3, 4]], mask_logits=ONE_MASK),
    "four points": Prompt(points=[[3, 4], [9, 9], [1, 1], [2, 0]], point_labels=[1, 0, 0, 1]),
    "box": Prompt(boxes=THREE_BOXES[:1]),
    "three points and box": Prompt(points=[[3, 4], [9, 9], [1, 1]], boxes=THREE_BOXES[:1]),
    "boxes": Prompt(boxes=THREE_BOXES),
    "boxes and earlier masks": Prompt(boxes=THREE_BOXES, mask_logits=THREE_MASKS),
    "many boxes": Prompt(boxes=THREE_BOXES * 11),
}


@pytest.fixture(scope="module")
def segmenter(onnx_files: Files) -> OnnxSegmenter:
    return OnnxSegmenter(*onnx_files)


@pytest.mark.parametrize("size", [(64, 64), (20, 31), (211, 90)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_agrees_with_torch(
    tiny: Sam, segmenter: OnnxSegmenter, picture: Draw, size, prompt: Prompt
) -> None:
    other = TorchSegmenter(tiny, name="tiny", version="1")
    image = picture(*size)
    have = segmenter.decode(segmenter.encode(image), prompt)
    want = other.decode(other.encode(image), prompt)
    assert len(have) == len(want) == len(prompt)
    np.testing.assert_allclose(have.logits, want.logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(have.quality, want.quality, rtol=0, atol=1e-4)


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("places", [1, 2, 5])
@pytest.mark.parametrize("masks", [0, 1])
def test_the_decoder_file_takes_any_number_of_prompts_and_places(
    tiny: Sam, onnx_files: Files, prompts: int, places: int, masks: int
) -> None:
    import onnxruntime
    import torch

    rng = np.random.default_rng(0)
    image = {"embedding": rng.normal(size=(1, *METADATA.embedding))}
    places_of_prompts = {
        "coords": rng.uniform(0, 64, (prompts, places, 2)),
        "labels": rng.integers(-1, 4, (prompts, places)),
        "earlier": rng.normal(size=(prompts, masks, 32, 32)),
    }
    image, asked = (
        {name: value.astype(np.float32) for name, value in part.items()}
        for part in (image, places_of_prompts)
    )
    preparer = onnxruntime.InferenceSession(onnx_files[1])
    decoder = onnxruntime.InferenceSession(onnx_files[2])
    names = [output.name for output in preparer.get_outputs()]
    inputs = dict(zip(names, preparer.run(names, image), strict=True)) | asked
    prepared = tiny.prepare(*(torch.from_numpy(value) for value in image.values()))
    want_logits, want_quality = tiny.decode(
        prepared, *(torch.from_numpy(value) for value in asked.values())
    )
    middle = float(want_quality.flatten().sort().values[prompts * 2 - 1 : prompts * 2 + 1].mean())
    for least in (-np.inf, middle, np.inf):
        good = (want_quality >= least).flatten()
        logits, masks, quality = decoder.run(
            None, inputs | {"least_quality": np.full(4, least, np.float32)}
        )
        assert masks.tolist() == good.nonzero()[:, 0].tolist()
        np.testing.assert_allclose(logits, want_logits.flatten(0, 1)[good], rtol=0, atol=1e-4)
        np.testing.assert_allclose(quality, want_quality, rtol=0, atol=1e-4)


def test_the_runtimes_read_each_others_embeddings(
    tiny: Sam, segmenter: OnnxSegmenter, picture: Draw
) -> None:
    other = TorchSegmenter(tiny, name="tiny", version="1")
    image, prompt = picture(20, 31), Prompt(points=[[3, 4]])
    have = segmenter.decode(other.encode(image), prompt)
    want = other.decode(segmenter.encode(image), prompt)
    np.testing.assert_allclose(have.logits, want.logits, rtol=0, atol=1e-4)


def test_the_embedding_of_another_model_is_refused(
    tiny: Sam, segmenter: OnnxSegmenter, picture: Draw
) -> None:
    embedding = TorchSegmenter(tiny, name="huge").encode(picture(20, 31))
    with pytest.raises(PromptError, match="made by huge, not by tiny 1"):
        segmenter.decode(embedding, Prompt(points=[[3, 4]]))


def test_a_point_outside_is_the_same_error(segmenter: OnnxSegmenter, picture: Draw) -> None:
    with pytest.raises(PromptError, match=r"point 40,4 is outside .* 31 x 20"):
        segmenter.decode(segmenter.encode(picture(20, 31)), Prompt(points=[[40, 4]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such model file"),
        (b"", "not an ONNX model"),
        (b"<html></html>", "not an ONNX model"),
    ],
)
def test_a_file_that_is_no_model(
    onnx_files: Files, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "decoder.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        OnnxSegmenter(*onnx_files[:2], path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file(onnx_files: Files, tmp_path: Path) -> None:
    path = tmp_path / "decoder.onnx"
    path.write_bytes(onnx_files[2].read_bytes()[:5000])
    with pytest.raises(WeightsError, match="not an ONNX model"):
        OnnxSegmenter(*onnx_files[:2], path)


def test_encoder_and_decoder_swapped(onnx_files: Files) -> None:
    with pytest.raises(WeightsError, match="expected the ONNX file of a segmenter-encoder"):
        OnnxSegmenter(*onnx_files[::-1])


def test_files_of_two_models(onnx_files: Files, tmp_path: Path) -> None:
    model = onnx.load(onnx_files[2])
    for entry in model.metadata_props:
        if entry.key == "version":
            entry.value = "2"
    onnx.save(model, tmp_path / "decoder.onnx")
    with pytest.raises(WeightsError, match="are of two models"):
        OnnxSegmenter(*onnx_files[:2], tmp_path / "decoder.onnx")


def test_files_of_an_older_version(onnx_files: Files, tmp_path: Path) -> None:
    model = onnx.load(onnx_files[2])
    (earlier,) = (entry for entry in model.graph.input if entry.name == "earlier")
    earlier.name = "mask"
    for node in model.graph.node:
        node.input[:] = ["mask" if name == "earlier" else name for name in node.input]
    onnx.save(model, tmp_path / "decoder.onnx")
    with pytest.raises(WeightsError, match=r"decoder.onnx: written by an older .*: export it"):
        OnnxSegmenter(*onnx_files[:2], tmp_path / "decoder.onnx")


def test_needs_no_torch() -> None:
    code = (
        "import sys, perception.segmenters.sam.onnx; "
        "sys.exit(bool({'torch', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
