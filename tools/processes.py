"""One training in several processes, started by torchrun: ``torchrun --nproc-per-node 2 ...``.

On a CPU a process per core, each with one thread, is faster than one process with all threads.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import nn


def join_processes() -> tuple[int, int]:
    """This process's rank and how many there are: 0 and 1 where torchrun didn't start it."""
    if "RANK" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group()
    return dist.get_rank(), dist.get_world_size()


def average_gradients(model: nn.Module) -> None:
    """Gives every process the mean of all processes' gradients."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, parts, strict=True):
        gradient.copy_(mean.view_as(gradient))
