"""Times our SAM and ``segment_anything``'s side by side, with the same weights, in one run.

    python tools/bench_sam.py [--only click,boxes,everything,encoder] [--checkpoint FILE]
                              [--size b|l|h] [--device cpu|cuda] [--picture FILE] [--runs 9]
                              [--points 32] [--json FILE] [--plot FILE.svg]

Without a checkpoint both get the same random weights: the work is the same, the masks mean nothing.
Ours and theirs take turns; medians of warm calls. Every row says how far the answers are apart, and
no row counts whose masks differ. On a GPU ours runs the image encoder in bf16, compiled, and there
is no ONNX row. Needs the extra [dev].
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import platform
import re
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from segment_anything.modeling import Sam as ReferenceSam
from segment_anything.utils.onnx import SamOnnxModel
from torch import Tensor

from perception.imaging.read import read_image
from perception.ops.masks import rle_to_mask
from perception.predictor.everything import find_everything
from perception.predictor.everything_settings import EverythingSettings
from perception.predictor.whole import WholeImagePredictor
from perception.runtime.onnx_session import open_session, usable_cores
from perception.segmenters.load import load_sam
from perception.segmenters.protocol import Segmenter
from perception.segmenters.sam.export import export_fast, export_int8_encoder
from perception.segmenters.sam.network import Sam, build_sam_vit_b, build_sam_vit_h, build_sam_vit_l
from perception.segmenters.sam.onnx import OnnxSegmenter
from perception.segmenters.torch_segmenter import TorchSegmenter
from perception.types import Embedding, ImageArray, Prompt

PICTURE = Path(__file__).resolve().parent.parent / "demos" / "images" / "park.jpg"
BUILDERS = {"b": build_sam_vit_b, "l": build_sam_vit_l, "h": build_sam_vit_h}
BOXES = 64
BATCH = 8
SHARE = 0.3
"""Of the candidates that pass the quality filter where the weights are random.

Random logits are too small for any mask to be stable, so there stability is not asked for.
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds of theirs and ours, and how far the answers are apart."""

    work: str
    theirs: float
    ours: float
    apart: str

    def __str__(self) -> str:
        ratio = self.theirs / self.ours
        theirs, ours = (f"{1000 * s:,.1f}" for s in (self.theirs, self.ours))
        return f"| {self.work} | {theirs} | {ours} | **{ratio:.1f}** | {self.apart} |"


def take_turns(
    theirs: Callable[[], object], ours: Callable[[], object], runs: int
) -> tuple[float, float]:
    """Median seconds of each. In every turn a call isn't counted, and the next one is.

    A system may have put away the memory of the side that waited, seconds long; bringing it back
    says nothing about either.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for work, list_of_times in zip((theirs, ours), times, strict=True):
            work()
            began = time.perf_counter()
            work()
            list_of_times.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def matrix_peak() -> str:
    """What a large matrix product reaches here, in GFLOP/s."""
    peaks = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2048, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
        seconds, _ = take_turns(lambda a=a, b=b: a @ b, lambda: None, 5)
        peaks.append(f"{str(dtype).removeprefix('torch.')} {2 * 2048**3 / seconds / 1e9:.0f}")
    return ", ".join(peaks) + " GFLOP/s (torch, 2048 x 2048)"


class Bench:
    """Both models with the same weights, the ONNX files of both, and one picture."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        torch.manual_seed(0)
        self.runs, self.points, self.folder = arguments.runs, arguments.points, folder
        self.image: ImageArray = read_image(arguments.picture)
        self.device, self.size = arguments.device, f"vit_{arguments.size}"
        self.is_random = arguments.checkpoint is None
        build = BUILDERS[arguments.size]
        self.sam: Sam = random_sam(build) if self.is_random else load_sam(arguments.checkpoint)
        self.reference: ReferenceSam = sam_model_registry[self.size]().eval()
        self.reference.load_state_dict(self.sam.state_dict(), strict=True)
        self.reference.to(self.device)
        self.predictor = SamPredictor(self.reference)
        self.is_gpu = self.device != "cpu"
        self.ours = self._on_gpu() if self.is_gpu else self._onnx_segmenters()
        self.main: Segmenter = next(iter(self.ours.values()))

    def _onnx_segmenters(self) -> dict[str, Segmenter]:
        """Ours on a CPU, the best in fp32 first."""
        export_fast(self.sam, self.folder, name=self.size, prefix=self.size)
        export_int8_encoder(self.sam, self.folder, prefix=self.size)
        parts = ("encoder", "preparer", "decoder", "encoder-int8")
        encoder, *decoder, int8 = (self.folder / f"{self.size}-{part}.onnx" for part in parts)
        return {
            "ONNX fp32": OnnxSegmenter(encoder, *decoder),
            "torch fp32": torch_segmenter(self.sam, self.size),
            "ONNX int8": OnnxSegmenter(int8, *decoder),
            "torch bf16": torch_segmenter(copy.deepcopy(self.sam), self.size, precision="bf16"),
        }

    def _on_gpu(self) -> dict[str, Segmenter]:
        ours = {}
        for precision in ("bf16", "fp32"):
            ours[f"torch {precision}, compiled"] = torch_segmenter(
                copy.deepcopy(self.sam),
                self.size,
                device=self.device,
                precision=precision,
                compiled=True,
            )
        return ours

    def click(self) -> Iterator[Row]:
        """One point on an encoded picture, through both ONNX decoders."""
        if self.is_gpu:
            return
        session = open_session(export_reference_onnx(self.reference, self.folder))
        embedding = self.main.encode(self.image)
        height, width = self.image.shape[:2]
        prompt = Prompt(points=[[width / 3, height / 2]])
        point = embedding.frame.points_to_model(prompt.points)
        inputs = {
            "image_embeddings": embedding.features[None],
            "point_coords": np.concatenate((point, np.zeros((1, 2))))[None].astype(np.float32),
            "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": np.zeros((1, 1, 256, 256), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([height, width], np.float32),
        }
        low = ["iou_predictions", "low_res_masks"]
        (_, want), have = session.run(low, inputs), self.main.decode(embedding, prompt)
        apart = f"logits within {np.abs(have.logits - want).max():.1g}"
        times = take_turns(
            lambda: session.run(None, inputs),
            lambda: self.main.decode(embedding, prompt),
            self.runs,
        )
        yield Row(
            "one click, ONNX, to low-resolution masks (theirs: also full size)", *times, apart
        )
        times = take_turns(
            lambda: session.run(None, inputs),
            lambda: self.main.decode(embedding, prompt).masks(),
            self.runs,
        )
        yield Row(
            "one click, ONNX, to the best mask at full size (theirs: all four)", *times, apart
        )

    def boxes(self) -> Iterator[Row]:
        """Many boxes on one encoded picture."""
        prompt = boxes_on(self.image)
        self.predictor.set_image(self.image)

        def reference() -> Tensor:
            logits = ask_boxes(self.predictor, self.image, prompt)
            self._wait()
            return logits

        want = reference().cpu().numpy()
        for name, segmenter in self.ours.items():
            if not self.is_gpu and "fp32" not in name:
                continue  # only the encoders differ
            embedding = segmenter.encode(self.image)
            apart = np.abs(segmenter.decode(embedding, prompt).logits[:, 1:] - want).max()
            decode = lambda s=segmenter, e=embedding: s.decode(e, prompt)  # noqa: E731
            times = take_turns(reference, decode, max(1, self.runs // 4))
            yield Row(f"{BOXES} boxes, {name}", *times, f"logits within {apart:.1g}")

    def everything(self) -> Iterator[Row]:
        """A grid of points, from the picture to the list of masks."""
        settings = {"quality": 0.88, "stability": 0.95}
        if self.is_random:
            settings = {"quality": self._quantile(), "stability": 0.0}
        generator = SamAutomaticMaskGenerator(
            self.reference,
            points_per_side=self.points,
            pred_iou_thresh=settings["quality"],
            stability_score_thresh=settings["stability"],
            output_mode="coco_rle",
        )
        ours = EverythingSettings(points_per_side=self.points, **settings)
        results: dict[str, Any] = {}
        times = take_one_turn(
            lambda: results.update(theirs=generator.generate(self.image)),
            lambda: results.update(
                ours=find_everything(WholeImagePredictor(self.main), self.image, ours)
            ),
        )
        share = matched_share(results["theirs"], results["ours"].masks)
        count = len(results["theirs"])
        kept = f" ({SHARE:.0%} of the candidates pass)" if self.is_random else ""
        yield Row(
            f"everything, {self.points} x {self.points} points{kept}",
            *times,
            f"{share:.1%} of {count} masks at IoU 0.99",
        )

    def _quantile(self) -> float:
        """A quality that a fixed share of the candidates of a coarse grid reaches."""
        height, width = self.image.shape[:2]
        steps = (np.arange(8) + 0.5) / 8
        grid = np.stack(np.meshgrid(steps * width, steps * height), axis=-1).reshape(-1, 2)
        found = self.main.propose(self.main.encode(self.image), grid.astype(np.float32))
        return float(np.quantile(found.quality, 1 - SHARE))

    def encoder(self) -> Iterator[Row]:
        """The image encoder alone, from the picture to the embedding."""

        def reference() -> Tensor:
            self.predictor.set_image(self.image)
            self._wait()
            return self.predictor.features

        want = reference()[0].cpu().numpy()
        batch = [self.image] * BATCH
        for name, segmenter in self.ours.items():
            embedding = segmenter.encode(self.image)
            encode = lambda s=segmenter: s.encode(self.image)  # noqa: E731
            times = take_turns(reference, encode, max(1, self.runs // 4))
            mean, least = self._overlap(want, embedding)
            within = np.abs(embedding.features - want).max()
            apart = f"within {within:.1g}, masks' IoU {mean:.4f} (least {least:.3f})"
            yield Row(f"encoder, {name}", *times, apart)
            if self.is_gpu and isinstance(segmenter, TorchSegmenter):
                times = take_turns(
                    lambda: [reference() for _ in batch],
                    lambda s=segmenter: s.encode_batch(batch),
                    max(1, self.runs // 4),
                )
                yield Row(f"encoder, {BATCH} pictures at once, {name}", *times, apart)

    def _wait(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize()

    def _overlap(self, want: np.ndarray, have: Embedding) -> tuple[float, float]:
        """Mean and least IoU of masks for boxes, of fp32's features C x h x w and of an embedding.

        Both are decoded by the same decoder, the best in fp32.
        """
        prompt = boxes_on(self.image)
        masks = [
            self.main.decode(replace(have, features=features, prepared=None), prompt).masks()
            for features in (want, have.features)
        ]
        both, either = (f(*masks).sum((1, 2)) for f in (np.logical_and, np.logical_or))
        overlaps = both / np.maximum(either, 1)
        return float(overlaps.mean()), float(overlaps.min())


def random_sam(build: Callable[[], Sam] = build_sam_vit_b) -> Sam:
    """A SAM with random weights whose tables and norms are not all zeros and ones."""
    sam = build()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in sam.named_parameters():
            if value.ndim == 1 or "pos" in name:
                value += 0.02 * torch.randn(value.shape, generator=generator)
    return sam


def torch_segmenter(sam: Sam, name: str, **options: Any) -> TorchSegmenter:
    return TorchSegmenter(sam, name=name, version="1", **options)


def boxes_on(image: ImageArray) -> Prompt:
    """Boxes of 0.3 of the sides, all over a picture."""
    height, width = image.shape[:2]
    low = np.random.default_rng(0).uniform(0, 0.6, (BOXES, 2))
    boxes = np.concatenate((low, low + 0.3), axis=1) * [width, height, width, height]
    return Prompt(boxes=boxes.astype(np.float32))


def ask_boxes(predictor: SamPredictor, image: ImageArray, prompt: Prompt) -> Tensor:
    """The published predictor's three logits for each box on the picture that was set."""
    boxes = torch.from_numpy(prompt.boxes).to(predictor.device)
    boxes = predictor.transform.apply_boxes_torch(boxes, image.shape[:2])
    logits: Tensor = predictor.predict_torch(None, None, boxes, multimask_output=True)[2]
    return logits


def peak_memory(work: Callable[[str, Path, Path], None], *arguments: object) -> float:
    """GiB that a process of its own takes at most to do ``work``."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_peak_after, work, *arguments).result()


def _peak_after(work: Callable[[str, Path, Path], None], *arguments: Any) -> float:
    with torch.inference_mode():
        work(*arguments)
    # Not ru_maxrss: that begins with what the parent took.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 2**20


def work_of_theirs(size: str, folder: Path, picture: Path) -> None:
    """One picture and its boxes through ``segment_anything``."""
    predictor = SamPredictor(sam_model_registry[size](folder / "weights.pth").eval())
    image = read_image(picture)
    predictor.set_image(image)
    ask_boxes(predictor, image, boxes_on(image))


def work_of_ours_in_torch(size: str, folder: Path, picture: Path) -> None:
    """One picture and its boxes through our network in torch."""
    segmenter, image = torch_segmenter(load_sam(folder / "weights.pth"), size), read_image(picture)
    segmenter.decode(segmenter.encode(image), boxes_on(image))


def work_of_ours_in_onnx(size: str, folder: Path, picture: Path) -> None:
    """One picture and its boxes through our ONNX files."""
    files = (folder / f"{size}-{part}.onnx" for part in ("encoder", "preparer", "decoder"))
    segmenter, image = OnnxSegmenter(*files), read_image(picture)
    segmenter.decode(segmenter.encode(image), boxes_on(image))


def export_reference_onnx(reference: ReferenceSam, folder: Path) -> Path:
    """The published package's own ONNX export of its decoder, traced on a picture of 1024."""
    path = folder / "reference.onnx"
    inputs = {
        "image_embeddings": torch.randn(1, 256, 64, 64),
        "point_coords": torch.randint(0, 1024, (1, 5, 2)).float(),
        "point_labels": torch.randint(0, 4, (1, 5)).float(),
        "mask_input": torch.randn(1, 1, 256, 256),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([1024.0, 1024.0]),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            SamOnnxModel(reference, return_single_mask=False).eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["masks", "iou_predictions", "low_res_masks"],
            dynamic_axes={"point_coords": {1: "n"}, "point_labels": {1: "n"}},
            opset_version=17,
            dynamo=False,
        )
    return path


def take_one_turn(theirs: Callable[[], object], ours: Callable[[], object]) -> tuple[float, float]:
    """Seconds of one call each, for work that takes minutes; ours is called once more before."""
    began = time.perf_counter()
    theirs()
    middle = time.perf_counter()
    ours()
    began_ours = time.perf_counter()
    ours()
    return middle - began, time.perf_counter() - began_ours


def matched_share(theirs: list[dict[str, Any]], ours: np.ndarray) -> float:
    """Share of their masks that one of ours, N x H x W, matches at IoU 0.99."""
    from perception.types import Rle

    flat = ours.reshape(len(ours), int(np.prod(ours.shape[1:])))
    hits = 0
    for annotation in theirs:
        code = annotation["segmentation"]
        counts = code["counts"] if isinstance(code["counts"], str) else code["counts"].decode()
        mask = rle_to_mask(Rle(size=tuple(code["size"]), counts=counts)).reshape(-1)
        both, either = (flat & mask).sum(1), (flat | mask).sum(1)
        hits += bool((both >= 0.99 * np.maximum(either, 1)).any())
    return hits / max(1, len(theirs))


def draw(rows: list[Row], path: Path) -> None:
    """How many times faster ours is, row by row, as a picture."""
    import matplotlib
    from matplotlib.figure import Figure

    # Small, and equal each time.
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "bench_sam"}
    figure = Figure(figsize=(9, 0.45 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    ratios = [row.theirs / row.ours for row in rows]
    bars = axes.barh([row.work for row in rows], ratios, color="#2a7f62")
    axes.bar_label(bars, [f"{ratio:.1f} x" for ratio in ratios], padding=4)
    axes.axvline(1, color="#444", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as segment_anything")
    axes.set_xlim(0, 1.2 * max(ratios))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="click,boxes,everything,encoder")
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument("--size", choices=BUILDERS, default="b")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--points", type=int, default=32)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--plot", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(usable_cores())
    print(f"{platform.machine()}, {usable_cores()} cores, {matrix_peak()}\n")
    print("| work | segment_anything, ms | ours, ms | ratio | answers |\n|---|---|---|---|---|")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        bench = Bench(arguments, Path(folder))
        for name in arguments.only.split(","):
            for row in getattr(bench, name)():
                print(row, flush=True)
                rows.append(row)
        if arguments.device == "cpu":
            torch.save(bench.sam.state_dict(), Path(folder) / "weights.pth")
            print(f"\nPeak memory of a process, one picture and {BOXES} boxes, model included:")
            for name, work in (
                ("segment_anything", work_of_theirs),
                ("ours in torch", work_of_ours_in_torch),
                ("ours in ONNX", work_of_ours_in_onnx),
            ):
                peak = peak_memory(work, bench.size, Path(folder), arguments.picture)
                print(f"{name} {peak:.2f} GiB", flush=True)
    if arguments.plot:
        draw(rows, arguments.plot)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
