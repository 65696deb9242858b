"""Trains nano's second generation: two trunks, clicks in the loop. On a CPU or one GPU.

    python tools/pretrained.py --out runs/start.safetensors --nano FILE
    python tools/train_nano2.py --start runs/start.safetensors --out runs/segmenter --data DIR

--data names a folder with coco_train92/, photos_more/ and photos_permissive/; --masked gives masks
to the latter, which tools/mask_boxes.py finds. The last KEPT_OUT photographs of each set by file
name are never seen. Saves often and resumes; ends with the weights as safetensors. What both trunks
see at strides 2 to 8 stays as it is: that costs most of the time and holds a tenth of the weights.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from click_rounds import OBEDIENCE as OBEDIENCE_WEIGHT
from click_rounds import Clicks, answer_loss, correction, obedience_loss, obeyed
from pixels import normalize
from safetensors.torch import load_file
from segmentation_batches import SegmentationBatch, SegmentationBatches
from torch import Tensor, nn
from train_segmenter import ColorMending
from trainer import WARM_UP, Trainer, load_batches, training_options

from perception.runtime.onnx_export import trace
from perception.runtime.onnx_session import open_session
from perception.segmenters.nano import TwoTrunkEncoder
from perception.segmenters.sam.network import Sam, build_nano2
from perception.segmenters.sam.prompt_encoder import IN

ROUNDS, ROUND_SHARES = (1, 2, 3, 5, 8), (0.4, 0.25, 0.15, 0.12, 0.08)
"""How many clicks a prompt is corrected by; only the last answer is learned from."""

SLOWLY = ("image_encoder.trunk.", "image_encoder.own.stages.")
Front = Callable[[Tensor], tuple[Tensor, ...]]


class _Front(nn.Module):
    def __init__(self, encoder: TwoTrunkEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return self.encoder.front(pixels)


def frozen_front(encoder: TwoTrunkEncoder, images: int, side: int) -> Front:
    """``encoder.front`` as ONNX Runtime runs it, for B x 3 x S x S; its weights learn no more."""
    names = [f"map{n}" for n in range(6)]
    example = torch.zeros(images, 3, side, side)
    graph = trace(_Front(encoder), {"pixels": example}, "front", outputs=names, dynamic={})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "front.onnx"
        path.write_bytes(graph.SerializeToString())
        session = open_session(path, threads=1, device="cpu")
    for part in (*front_parts(encoder), *_depthwise(encoder.trunk)):
        part.requires_grad_(False)

    def run(pixels: Tensor) -> tuple[Tensor, ...]:
        maps = session.run(names, {"pixels": pixels.contiguous().numpy()})
        return tuple(
            torch.from_numpy(m).contiguous(memory_format=torch.channels_last) for m in maps
        )

    return run


def front_parts(encoder: TwoTrunkEncoder) -> list[nn.Module]:
    """The parts that ``frozen_front`` runs."""
    return [
        encoder.own.stem,
        *encoder.own.stages[:2],
        encoder.trunk.stem,
        *encoder.trunk.stages[:3],
    ]


def _depthwise(trunk: nn.Module) -> list[nn.Module]:
    """The convolutions of one channel each: few weights, whose gradients take a sixth of a step."""
    return [part for part in trunk.modules() if isinstance(part, nn.Conv2d) and part.groups > 1]


def learning(sam: Sam) -> Sam:
    """In training mode, but for the norms of both trunks, which keep what they have measured."""
    sam.train()
    encoder = sam.image_encoder
    for trunk in (encoder.trunk, encoder.own.stem, encoder.own.stages):
        trunk.eval()
    return sam


def step(
    sam: Sam, batch: SegmentationBatch, front: Front, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The loss of one batch: boxes and lone points, then a correction of each by further clicks."""
    side, boxes = batch.images.shape[1], batch.boxes
    truth = torch.nn.functional.avg_pool2d(batch.masks.float()[:, None], 2)[:, 0]
    colors = ColorMending(batch.images)

    def mended(logits: Tensor) -> Tensor:
        return torch.cat((colors.mend(logits[:, :1]), logits[:, 1:]), dim=1)

    embeddings = sam.image_encoder.back(*front(normalize(batch.images, torch.device("cpu"))))
    logits, quality = sam.decode(
        sam.prepare(embeddings, factored=False), batch.coords, batch.labels
    )
    answers = mended(logits)
    first_loss, first_iou = answer_loss(answers, quality, truth)
    total = first_loss
    lone = Clicks((batch.coords[boxes:, :1] + 0.5) / side, batch.labels[boxes:, :1])
    if len(lone.places):
        total = total + OBEDIENCE_WEIGHT * obedience_loss(answers[boxes:], lone, truth[boxes:])
    # As clicks are answered: of a lone click the best candidate goes on, of a box the single mask.
    chosen = torch.where(torch.arange(len(truth)) < boxes, 0, 1 + quality[:, 1:].argmax(1))
    rows = torch.arange(len(truth))
    earlier, before = answers[rows, chosen].detach(), first_iou[rows, chosen]
    inside = torch.multinomial(truth.flatten(1).clamp(min=1e-9), 1)[:, 0]
    size = truth.shape[2]
    places = (torch.stack((inside % size, inside // size), dim=1) + 0.5) / size
    places[boxes:] = lone.places[:, 0]
    clicks = Clicks(places[:, None], torch.full((len(truth), 1), IN))
    frozen = embeddings.detach()
    rounds = int(rng.choice(ROUNDS, p=ROUND_SHARES))
    for n in range(rounds):
        clicks = clicks.plus(*correction(earlier, truth))
        is_last = n == rounds - 1
        with torch.set_grad_enabled(is_last):
            image = sam.prepare(embeddings if is_last else frozen, earlier[:, None], factored=False)
            logits, quality = sam.decode(image, *clicks.prompt(side))
            answers = mended(logits)
        if not is_last:
            _, iou = answer_loss(answers, quality, truth)
            earlier, before = answers[:, 0], iou[:, 0]
    last_loss, last_iou = answer_loss(answers, quality, truth, before)
    total = total + last_loss + OBEDIENCE_WEIGHT * obedience_loss(answers, clicks, truth)
    figures = {
        "box": first_iou[:boxes, 0].mean().item(),
        "point": first_iou[rows, chosen][boxes:].mean().item(),
        "clicks": last_iou[:, 0].mean().item(),
        "gain": (last_iou[:, 0] - before).mean().item(),
        "harm": (last_iou[:, 0] < before - 0.05).float().mean().item(),
        "obeyed": obeyed(answers[:, 0], clicks).item(),
    }
    return total, figures


def train(arguments: argparse.Namespace) -> None:
    if not arguments.start.is_file():
        raise SystemExit(f"{arguments.start}: no such file: tools/pretrained.py writes it")
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    sam = build_nano2(arguments.side)
    sam.load_state_dict(load_file(arguments.start))
    front = frozen_front(sam.image_encoder, arguments.batch, arguments.side)
    sam = learning(sam.to(memory_format=torch.channels_last))
    trainer = Trainer(
        sam,
        arguments.out / "state.pt",
        steps=arguments.steps,
        rate=arguments.rate,
        slowly=SLOWLY,
        warm_up=min(WARM_UP, arguments.steps // 20),
    )
    seed = trainer.scene_seed(arguments.seed)
    torch.manual_seed(seed)
    batches = SegmentationBatches(
        side=arguments.side,
        size=arguments.batch,
        seed=seed,
        data=arguments.data,
        masked=arguments.masked,
        more=True,
    )
    rng = np.random.default_rng(seed)
    trainer.run(
        load_batches(batches, arguments.workers),
        lambda batch: step(sam, batch, front, rng),
        until=arguments.until or arguments.steps,
        pictures=arguments.batch,
    )
    trainer.save_weights(arguments.out / "nano-segmenter.safetensors")


def main() -> None:
    parser = training_options(__doc__ or "", out=Path("runs/segmenter"), batch=8, rate=5e-4)
    parser.add_argument("--data", type=Path, required=True, help="folder with photographs")
    parser.add_argument(
        "--masked", type=Path, default=None, help="masks of photos_permissive, by mask_boxes.py"
    )
    parser.add_argument("--start", type=Path, required=True, help="weights, by pretrained.py")
    parser.add_argument("--threads", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
