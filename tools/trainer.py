"""What both training scripts share: options, optimizers, averaged weights, save and resume."""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from muon import Muon, matrices
from processes import average_gradients, join_processes
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

Batch = TypeVar("Batch")

DECAY = 0.02  # of the weights, but for vectors
SLOWNESS = 0.5  # the learning rate of weights that shall change little, beside the others'
WARM_UP = 300  # steps until the learning rate is at its height
REPORT_EVERY = 50  # steps


def training_options(
    description: str, *, out: Path, batch: int, rate: float
) -> argparse.ArgumentParser:
    """The options of every training, with a model's own defaults."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--out", type=Path, default=out, help="folder of the state and the weights")
    parser.add_argument("--steps", type=int, default=6000, help="length of the whole schedule")
    parser.add_argument("--until", type=int, default=None, help="stop here (default: at --steps)")
    parser.add_argument("--side", type=int, default=256, help="of the pictures, in pixels")
    parser.add_argument("--batch", type=int, default=batch, help="pictures a step, all processes")
    parser.add_argument("--rate", type=float, default=rate, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw; 0: none")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def load_batches(scenes: IterableDataset[Batch], workers: int) -> Iterable[Batch]:
    """The batches of a data set, drawn ahead by other processes."""
    ahead = 3 if workers else None
    return DataLoader(scenes, batch_size=None, num_workers=workers, prefetch_factor=ahead)


class Trainer:
    """Takes ``steps`` steps and keeps the exponential moving average of the weights.

    Matrices are Muon's, all other weights AdamW's; both have the same learning rate. Weights whose
    names begin with one of ``slowly`` are all AdamW's, and their rate is ``SLOWNESS`` times as
    high; those that need no gradient stay.

    The state is saved to ``path`` every ``save_seconds`` and read from there when it exists: a run
    that was stopped goes on where it was.
    """

    def __init__(
        self,
        model: nn.Module,
        path: Path,
        *,
        steps: int,
        rate: float,
        save_seconds: float = 120,
        slowly: tuple[str, ...] = (),
        warm_up: int = WARM_UP,
    ) -> None:
        self.model, self.path, self.steps, self.rate = model, path, steps, rate
        self.warm_up = warm_up
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        slow = {id(p) for name, p in model.named_parameters() if slowly and name.startswith(slowly)}
        learned = [p for p in model.parameters() if p.requires_grad]
        turned = [p for p in matrices(model) if p.requires_grad and id(p) not in slow]
        known = {id(p) for p in turned}
        rest = [p for p in learned if id(p) not in known]
        groups = [
            {
                "params": chosen,
                "weight_decay": DECAY * is_matrix,
                "pace": SLOWNESS if is_slow else 1.0,
            }
            for is_slow in (False, True)
            for is_matrix in (True, False)
            if (
                chosen := [
                    p for p in rest if (id(p) in slow) == is_slow and (p.ndim > 1) == is_matrix
                ]
            )
        ]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate)]
        if turned:
            self.optimizers.append(Muon(turned, lr=rate, weight_decay=DECAY))
        self.step = 0
        self.rank, self.processes = join_processes()
        self.save_seconds, self.saved = save_seconds, time.monotonic()
        if path.is_file():
            self._resume()

    def scene_seed(self, seed: int) -> int:
        """A seed for the scenes: each process, and a resumed run, draws others."""
        return (seed * 1_000_003 + self.step) * 1_009 + self.rank

    def run(
        self,
        batches: Iterable[Batch],
        loss_of: Callable[[Batch], tuple[Tensor, dict[str, float]]],
        *,
        until: int,
        pictures: int,
    ) -> None:
        """Trains up to step ``until``, printing means of the loss and the figures, and saves.

        loss_of: a batch -> its loss, and figures for the log; pictures: in a step.
        """
        log: list[dict[str, float]] = []
        began, first = time.monotonic(), self.step
        source = iter(batches)
        while self.step < until:
            loss, figures = loss_of(next(source))
            self.update(loss)
            log.append({"loss": loss.item(), **figures})
            if self.step % REPORT_EVERY == 0 and self.rank == 0:
                means = {name: sum(row[name] for row in log) / len(log) for name in log[0]}
                line = " ".join(f"{name} {value:.3f}" for name, value in means.items())
                speed = (self.step - first) * pictures / (time.monotonic() - began)
                print(f"step {self.step} {line} {speed:.0f} img/s", flush=True)
                log.clear()
        self.save()

    def update(self, loss: Tensor) -> None:
        """One step down the gradient of ``loss``, warm-up and cosine; then the average follows."""
        warm = min(1.0, (self.step + 1) / self.warm_up)
        cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * min(1.0, self.step / self.steps))) / 2
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * warm * cosine * group.get("pace", 1.0)
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self._follow(min(0.9995, self.step / (self.step + 20)))
        if time.monotonic() - self.saved > self.save_seconds:
            self.save()

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        ours = self.average.state_dict()
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                ours[name].lerp_(value, 1 - decay)
            else:
                ours[name].copy_(value)

    def save(self) -> None:
        """Writes the state beside the old one and puts it in its place; the first process does."""
        if self.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
        }
        part = self.path.with_name(self.path.name + ".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, part)
        os.replace(part, self.path)
        self.saved = time.monotonic()

    def save_weights(self, path: Path) -> None:
        """Writes the averaged weights as safetensors; the first process does."""
        if self.rank:
            return
        weights = {name: value.contiguous() for name, value in self.average.state_dict().items()}
        save_file(weights, str(path))

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        if "optimizers" not in state:
            raise SystemExit(
                f"{self.path} is of another version; choose another --out, and begin with weights"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step = state["step"]
        print(f"resumed {self.path} at step {self.step}", flush=True)
