"""Times our Grounding DINO and transformers' side by side, with the same weights, in one run.

    python tools/bench_detect.py [--only picture,vocabulary,batch,labels] [--folder FOLDER]
                                 [--classes FILE] [--size 800x1066] [--runs 3] [--batch 8]
                                 [--threads 2] [--device cpu|cuda] [--json FILE]

Without a folder both get the network of grounding-dino-tiny with the same random weights: the work
is the same, the boxes mean nothing. Ours and theirs take turns; medians of warm calls, and the
least processor time of each. Every row says how far the boxes are apart, and the command fails
where they are not the same. Needs the extra [torch].
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.detectors.decode import span_scores
from perception.detectors.load import load_detector
from perception.detectors.onnx_files import boxes_in_image
from perception.detectors.protocol import Detector
from perception.ops.boxes import box_iou, clip_boxes
from perception.prompts.grammar import Phrases, parse
from perception.runtime.onnx_session import usable_cores
from perception.types import Candidates, FloatArray, ImageArray

LABELS = ("person", "red car", "traffic light", "dog")
TOP, LEAST_IOU = 50, 0.98
CLASSES = 1203
"""As many as LVIS has."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    theirs, ours: median seconds; their_work, our_work: least seconds of processor time, which other
    programs on the machine disturb less; same: the least IoU of their best boxes with ours.
    """

    work: str
    theirs: float
    ours: float
    their_work: float
    our_work: float
    same: float
    compared: int = TOP

    def __str__(self) -> str:
        times = " | ".join(
            f"{theirs:.2f} | {ours:.2f} | **{theirs / ours:.2f}**"
            for theirs, ours in ((self.theirs, self.ours), (self.their_work, self.our_work))
        )
        same = f"{self.same:.4f} of {self.compared}" if self.compared else "not compared"
        return f"| {self.work} | {times} | {same} |"


HEAD = (
    "| work | theirs, s | ours, s | ratio | of the processor: theirs, s | ours, s | ratio | IoU |\n"
    "|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Times:
    """Seconds by the clock and of the processor, one for each call."""

    clock: list[float]
    work: list[float]

    @property
    def typical(self) -> float:
        return statistics.median(self.clock)

    @property
    def least_work(self) -> float:
        return min(self.work)


def take_turns(*calls: Callable[[], object], runs: int, device: str = "cpu") -> list[Times]:
    """Each call's times; a first one of each isn't counted."""
    times = [Times([], []) for _ in calls]
    for run in range(runs + 1):
        for call, own in zip(calls, times, strict=True):
            began, worked = time.perf_counter(), time.process_time()
            call()
            if device != "cpu":
                torch.cuda.synchronize()
            if run:
                own.clock.append(time.perf_counter() - began)
                own.work.append(time.process_time() - worked)
    return times


def timed(call: Callable[[], list[Candidates]]) -> tuple[Times, list[Candidates]]:
    """One call's time and what it gave."""
    began, worked = time.perf_counter(), time.process_time()
    found = call()
    seconds = time.perf_counter() - began, time.process_time() - worked
    return Times([seconds[0]], [seconds[1]]), found


class Bench:
    """Both detectors with the same weights, and pictures of noise."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        self.runs, self.device, self.folder = arguments.runs, arguments.device, folder
        precision = "fp32" if self.device == "cpu" else "bf16"
        self.ours: Detector = load_detector(
            "grounding-dino", folder, name="ours", device=self.device, precision=precision
        )
        self.processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(
            folder, local_files_only=True
        )
        self.model = model.eval().to(self.device)
        self.classes = read_classes(arguments.classes)
        height, width = (int(side) for side in arguments.size.split("x"))
        self.pictures = [noise(height, width, seed) for seed in range(arguments.batch)]

    def one_picture(self) -> Iterator[Row]:
        """One picture, four labels: from the picture to boxes."""
        image, phrases = self.pictures[0], parse(list(LABELS))
        theirs, ours = take_turns(
            lambda: self.theirs(image, LABELS),
            lambda: self.ours.detect([image], phrases),
            runs=self.runs,
            device=self.device,
        )
        same = self.apart(image, LABELS, phrases)
        yield row("one picture, 4 labels", theirs, ours, same)

    def batch(self) -> Iterator[Row]:
        """A batch with one vocabulary against as many single calls."""
        phrases = parse(list(LABELS))
        theirs, ours = take_turns(
            lambda: [self.theirs(image, LABELS) for image in self.pictures],
            lambda: self.ours.detect(self.pictures, phrases),
            runs=max(1, self.runs // 2),
            device=self.device,
        )
        same = min(self.apart(image, LABELS, phrases) for image in self.pictures[:2])
        yield row(f"batch of {len(self.pictures)}, 4 labels", theirs, ours, same)

    def labels(self) -> Iterator[Row]:
        """transformers' zero-shot pipeline, which asks for one label at a time."""
        from transformers import pipeline

        pipe: Any = pipeline(
            "zero-shot-object-detection",
            model=self.model,
            tokenizer=self.processor.tokenizer,
            image_processor=self.processor.image_processor,
            device=self.device,
        )
        from PIL import Image

        image, phrases = self.pictures[0], parse(list(LABELS))
        shown = Image.fromarray(image)
        theirs, ours = take_turns(
            lambda: pipe(shown, candidate_labels=list(LABELS), threshold=0.9),
            lambda: self.ours.detect([image], phrases),
            runs=max(1, self.runs // 2),
            device=self.device,
        )
        yield row("zero-shot pipeline, 4 labels", theirs, ours, 1.0, compared=0)

    def vocabulary(self) -> Iterator[Row]:
        """Many classes on one picture: one call of many passes against a full call for each."""
        image, phrases = self.pictures[0], parse(self.classes)
        texts = self.ours._pack(phrases.phrases)  # type: ignore[attr-defined]
        alone = [parse([phrases.phrases[number] for number in text.phrases]) for text in texts]
        self.ours.candidates([image], alone[0], floor=0.0)  # A first call, which isn't counted.
        apart, singles = timed(
            lambda: [self.ours.candidates([image], one, floor=0.0)[0] for one in alone]
        )
        together, (joined,) = timed(lambda: self.ours.candidates([image], phrases, floor=0.0))
        same, start = 1.0, 0
        for text, single in zip(texts, singles, strict=True):
            part = joined[np.arange(start, start + len(single))]
            start += len(single)
            same = min(same, agreement(single.boxes, single.scores, part.boxes))
            gap = np.abs(part.scores[:, text.phrases] - single.scores).max(initial=0.0)
            same = min(same, 1 - float(gap))
        count = len(texts)
        work = f"{len(self.classes):,} classes: {count} full calls, and one of {count} passes"
        yield row(work, apart, together, same)
        full = apart.least_work / count
        later = (together.least_work - full) / max(1, count - 1)
        print(
            f"a full call takes {full:.2f} s of the processor, a pass after the first {later:.2f} "
            f"({later / full:.0%})"
        )

    def theirs(self, image: ImageArray, labels: Sequence[str]) -> tuple[Any, Any]:
        """Their processor, network and post-processing."""
        text = " ".join(f"{label}." for label in labels)
        inputs = self.processor(images=image, text=text, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            outputs = self.model(**inputs)
        self.processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=0.3, target_sizes=[image.shape[:2]]
        )
        return inputs, outputs

    def apart(self, image: ImageArray, labels: Sequence[str], phrases: Phrases) -> float:
        """The least IoU of their best boxes, by their logits in our decoding, with ours."""
        _, outputs = self.theirs(image, labels)
        (ours,) = self.ours.candidates([image], phrases, floor=0.0)
        (text,) = self.ours._pack(phrases.phrases)  # type: ignore[attr-defined]
        height, width = image.shape[:2]
        boxes = boxes_in_image(outputs.pred_boxes[0].float().cpu().numpy(), width, height)
        scores = span_scores(outputs.logits[0].float().cpu().numpy(), text.spans)
        return agreement(clip_boxes(boxes, (height, width)), scores, ours.boxes)


def agreement(boxes: FloatArray, scores: FloatArray, others: FloatArray) -> float:
    """The least IoU of the best-scored boxes with any of the others."""
    best = np.argsort(-scores.max(axis=1), kind="stable")[:TOP]
    return float(box_iou(boxes[best], others).max(axis=1).min())


def row(work: str, theirs: Times, ours: Times, same: float, compared: int = TOP) -> Row:
    return Row(
        work, theirs.typical, ours.typical, theirs.least_work, ours.least_work, same, compared
    )


def noise(height: int, width: int, seed: int) -> ImageArray:
    """A picture with something at every scale."""
    numbers = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cell in (4, 16, 64, 256):
        coarse = numbers.random((-(-height // cell), -(-width // cell), 3), np.float32)
        image += coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return (image * (255 / 4)).astype(np.uint8)


def read_classes(path: Path | None) -> list[str]:
    """The names in a file, one a line, or as many as LVIS has from Unicode's: two words each."""
    if path is not None:
        return path.read_text("utf-8").split("\n")
    names = (unicodedata.name(chr(code), "").lower() for code in range(0x21, 0x20000))
    words = (name.split() for name in names if name.replace(" ", "").isalpha())
    return list(dict.fromkeys(" ".join(some[-2:]) for some in words))[:CLASSES]


def make_folder(folder: Path, words: Sequence[str]) -> None:
    """The network of grounding-dino-tiny with random weights, and a vocabulary of these words."""
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    torch.manual_seed(0)
    backbone = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "window_size": 7,
            "image_size": 224,
            "out_indices": [2, 3, 4],
            **backbone,
        }
    )
    network = GroundingDinoForObjectDetection(config)
    with torch.no_grad():
        vary(network)
    network.save_pretrained(folder)
    # transformers takes a text apart by the numbers that these have in BERT's vocabulary.
    fixed = {
        0: "[PAD]",
        100: "[UNK]",
        101: "[CLS]",
        102: "[SEP]",
        103: "[MASK]",
        1012: ".",
        1029: "?",
    }
    rest = iter(dict.fromkeys(words))
    pieces = [
        fixed.get(number) or next(rest, f"[unused{number}]")
        for number in range(config.text_config.vocab_size)
    ]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"))
    GroundingDinoProcessor(GroundingDinoImageProcessor(), tokenizer).save_pretrained(folder)


def vary(network: Any) -> None:
    """Makes random weights say something everywhere, and answers comparable.

    Offsets and boxes are random, not zero, as they are at first; words are short vectors, so that
    scores don't saturate; and all queries begin alike: of two cells that fit equally well but for
    rounding, it can't matter which comes first.
    """
    for name, weight in network.named_parameters():
        if "sampling_offsets.weight" in name or "attention_weights.weight" in name:
            weight.normal_(std=0.03)
        elif name.endswith(("vision_param", "text_param")):
            weight.fill_(0.3)
        elif "bbox_embed" in name and "layers.2.weight" in name:
            weight.normal_(std=0.02)
    network.model.encoder.layers[-1].text_enhancer_layer.layer_norm_after.weight.mul_(0.1)
    places = network.model.query_position_embeddings.weight
    places.copy_(places[:1].expand_as(places))


WORK = ("picture", "vocabulary", "batch", "labels")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; 1 where boxes differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--only", default=",".join(WORK), help=f"of {', '.join(WORK)}")
    parser.add_argument("--folder", type=Path, help="a Grounding DINO as transformers saves it")
    parser.add_argument("--classes", type=Path, help="names, one a line")
    parser.add_argument("--size", default="800x1066")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is there")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    print(
        f"{platform.machine()}, threads: {arguments.threads}, torch {torch.__version__}\n\n{HEAD}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if arguments.folder is None:
            asked = (*LABELS, *read_classes(arguments.classes))
            make_folder(folder, [word for name in asked for word in name.split()])
        bench = Bench(arguments, folder)
        work = {
            "picture": bench.one_picture,
            "vocabulary": bench.vocabulary,
            "batch": bench.batch,
            "labels": bench.labels,
        }
        rows = []
        for name in arguments.only.split(","):
            for one in work[name]():
                print(one, flush=True)
                rows.append(one)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in rows], indent=2))
    return int(any(one.same < LEAST_IOU for one in rows))


if __name__ == "__main__":
    sys.exit(main())
