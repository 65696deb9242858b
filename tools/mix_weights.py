"""Mixes two sets of weights of one network, one of which was trained on from the other.

    python tools/mix_weights.py BEFORE AFTER --out runs/detector/nano-detector.safetensors

The mean of what a network was and what it has become keeps most of the old and has some of the new
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Residual convolutions that were
added before it was trained on began as identities, and count as such.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor


def mix(before: dict[str, Tensor], after: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """share: of ``after`` in every number, 0..1; counters are those of ``after``."""
    alien = before.keys() - after.keys()
    alien |= {name for name in after.keys() - before.keys() if ".convs." not in name}
    if alien:
        raise SystemExit(f"these weights are of two networks: only one has {min(alien)}")
    return {name: _mixed(before.get(name), value, name, share) for name, value in after.items()}


def _mixed(before: Tensor | None, after: Tensor, name: str, share: float) -> Tensor:
    if before is None:
        # Of an added convolution, the scale of whose norm began as 0 (``load_start``). All else of
        # it means nothing at a scale of 0, but for its small bias, and stays as it was learned.
        return after * share if name.endswith(".1.weight") else after
    return before.float().lerp(after.float(), share) if after.is_floating_point() else after


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the weights after")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    mixed = mix(load_file(arguments.before), load_file(arguments.after), arguments.share)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(mixed, str(arguments.out))


if __name__ == "__main__":
    main()
