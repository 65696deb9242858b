"""What both training scripts share: averaged weights, the learning rate, saving and resuming."""

from __future__ import annotations

import copy
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class Trainer:
    """Steps an AdamW over ``steps`` steps and keeps the exponential moving average of the weights.

    The state is saved to ``path`` every ``save_seconds`` and read from there when it exists: a run
    that was stopped goes on where it was.
    """

    def __init__(
        self, model: nn.Module, path: Path, *, steps: int, rate: float, save_seconds: float = 120
    ) -> None:
        self.model, self.path, self.steps, self.rate = model, path, steps, rate
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0}]
        self.optimizer = torch.optim.AdamW(groups, lr=rate)
        self.step = 0
        self.save_seconds, self.saved = save_seconds, time.monotonic()
        if path.is_file():
            self._resume()

    @property
    def done(self) -> float:
        """How much of the run is behind us: 0..1."""
        return self.step / self.steps

    def update(self, loss: Tensor) -> None:
        """One step down the gradient of ``loss``, warm-up and cosine; then the average follows."""
        warm = min(1.0, (self.step + 1) / 300)
        cosine = 0.02 + 0.98 * (1 + math.cos(math.pi * min(1.0, self.done))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * cosine
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
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
        """Writes the state beside the old one, then takes its place."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        part = self.path.with_name(self.path.name + ".part")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, part)
        os.replace(part, self.path)
        self.saved = time.monotonic()

    def _resume(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        print(f"resumed {self.path} at step {self.step}", flush=True)
