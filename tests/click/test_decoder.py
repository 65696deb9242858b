"""demos/click/decoder.js, in node, gives the logits of the Python decoder."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click_page import PAGE, run_node
from system_tools import need

from perception.checkpoints.installed import data_folder
from perception.imaging.preprocess import Frame
from perception.segmenters.decoding import prompt_rows
from perception.segmenters.sam.onnx import OnnxSegmenter
from perception.types import FloatArray, Prompt

RUNTIME = PAGE / "node_modules" / "onnxruntime-web" / "dist"
HW = (240, 320)

OPEN = """
  const { openDecoder } = await load("decoder.js");
  const decoder = await openDecoder(data.urls);
"""
DECODE = (
    OPEN
    + """
  const bytes = Uint8Array.from(Buffer.from(data.embedding, "base64")).buffer;
  const prepared = await decoder.prepare(bytes, data.shape);
  const answers = [];
  let earlier = null;
  for (const { coords, labels, feedBack } of data.rows) {
    const given = await decoder.decode({
      prepared, coords: Float32Array.from(coords), labels: Float32Array.from(labels),
      earlier: feedBack ? earlier : null,
    });
    earlier = given.logits.subarray(decoder.maskSize ** 2, 2 * decoder.maskSize ** 2);
    const logits = Buffer.from(given.logits.buffer).toString("base64");
    answers.push({ logits, quality: Array.from(given.quality) });
  }
  await decoder.release();
  return { size: decoder.maskSize, answers };
"""
)


def data_url(path: Path) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(path.read_bytes()).decode()


@pytest.fixture(scope="module")
def urls() -> dict[str, str]:
    need("there" if RUNTIME.is_dir() else None, "onnxruntime-web (npm ci --prefix demos/click)")
    graphs = {
        part: data_url(data_folder() / f"nano-segmenter-{part}.onnx")
        for part in ("preparer", "decoder")
    }
    return {"runtimeUrl": RUNTIME.as_uri()} | {f"{k}Url": url for k, url in graphs.items()}


@pytest.fixture(scope="module")
def segmenter() -> OnnxSegmenter:
    parts = (data_folder() / f"nano-segmenter-{p}.onnx" for p in ("encoder", "preparer", "decoder"))
    return OnnxSegmenter(*parts)


def row(prompt: Prompt, side: int, size: int, *, feed_back: bool) -> dict[str, Any]:
    rows = prompt_rows(prompt, Frame(HW, side), size)
    coords, labels = rows.coords[0].ravel().tolist(), rows.labels[0].tolist()
    return {"coords": coords, "labels": labels, "feedBack": feed_back}


def test_gives_the_logits_of_python(segmenter: OnnxSegmenter, urls: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    features: FloatArray = segmenter.encode(rng.integers(0, 256, (*HW, 3), np.uint8)).features
    half = features.astype(np.float16)
    embedding = segmenter.restore(half.astype(np.float32), HW)
    side, size = segmenter.metadata.side, segmenter.metadata.mask_size
    points = [[100.0, 80.0], [40.0, 200.0]]
    prompts = [
        (Prompt(points=points[:1]), False),
        (Prompt(points=points, point_labels=[1, 0]), True),
        (Prompt(boxes=[[20, 30, 200, 210]]), False),
    ]
    have = run_node(
        DECODE,
        {
            "urls": urls,
            "embedding": base64.b64encode(half.tobytes()).decode(),
            "shape": half.shape,
            "rows": [row(prompt, side, size, feed_back=fed) for prompt, fed in prompts],
        },
    )
    assert have["size"] == size
    earlier: FloatArray | None = None
    for (prompt, fed), answer in zip(prompts, have["answers"], strict=True):
        labels = prompt.point_labels if len(prompt.points) else None
        asked = Prompt(prompt.points, labels, prompt.boxes, earlier if fed else None)
        want = segmenter.decode(embedding, asked)
        logits = np.frombuffer(base64.b64decode(answer["logits"]), np.float32)
        np.testing.assert_allclose(logits, want.logits[0].ravel(), rtol=0, atol=2e-3)
        np.testing.assert_allclose(answer["quality"], want.quality[0], rtol=0, atol=1e-4)
        earlier = want.logits[:, 1]


@pytest.mark.parametrize("broken", ["runtimeUrl", "preparerUrl", "decoderUrl"])
def test_what_is_missing_is_one_line(urls: dict[str, str], broken: str) -> None:
    code = f"try {{ {OPEN} }} catch (error) {{ return error.message; }}"
    message = run_node(code, {"urls": urls | {broken: "data:text/plain,nothing"}})
    assert message.startswith("no decoder in this page: ")
    assert "\n" not in message


def test_the_table_of_halves_is_numpys() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    code = """
      const { lookUp } = await load("float16.js");
      return Array.from(lookUp(Uint16Array.from(data)), (value) =>
        Number.isFinite(value) ? value : String(value));
    """
    have = np.array(run_node(code, bits.tolist()), dtype=object)
    want = bits.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(have.astype(np.float32), want)
