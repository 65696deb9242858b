"""A training step with clicks in the loop, on a tiny network."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import train_nano2
from segmentation_batches import SegmentationBatch
from train_nano2 import front_parts, frozen_front, learning, step

from perception.segmenters.nano import NanoImageEncoder, TwoTrunkEncoder
from perception.segmenters.sam.mask_decoder import MaskDecoder
from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.prompt_encoder import PromptEncoder
from perception.segmenters.sam.transformer import TwoWayTransformer

SIDE = 64


@pytest.fixture
def sam() -> Sam:
    torch.manual_seed(0)
    own = NanoImageEncoder(
        widths=(4, 8, 8, 16, 16), depths=(1, 1, 1, 1), merge_depth=1, channels=16
    )
    return Sam(
        TwoTrunkEncoder(own, fine=4, fine_width=8),
        PromptEncoder(channels=16, image_size=SIDE, embedding_size=SIDE // 8, mask_channels=8),
        MaskDecoder(
            TwoWayTransformer(depth=1, channels=16, heads=2, hidden=16),
            channels=16,
            quality_depth=2,
            quality_hidden=16,
        ),
        has_fine=True,
    )


def test_masks_and_clicks_are_learned(sam: Sam, batch: SegmentationBatch) -> None:
    learning(sam)
    for part in front_parts(sam.image_encoder):
        part.requires_grad_(False)
    before = {name: value.clone() for name, value in sam.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in sam.parameters() if p.requires_grad], lr=0.01)
    rng = np.random.default_rng(0)
    losses, figures = [], {}
    for _ in range(40):
        loss, figures = step(sam, batch, sam.image_encoder.front, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert figures["box"] > 0.6
    assert set(figures) == {"box", "point", "clicks", "gain", "harm", "obeyed"}
    after = sam.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    for name in before:
        if ".trunk." in name and "running" in name:
            assert name not in changed  # what the trunk has measured of the world stays
        if name.startswith(("image_encoder.trunk.stem", "image_encoder.own.stem")):
            assert name not in changed
    assert any(name.startswith("image_encoder.trunk.stages.6") for name in changed)
    assert any(name.startswith("image_encoder.fine.2") for name in changed)


@pytest.mark.slow
def test_the_frozen_front_gives_what_the_encoder_gives(sam: Sam) -> None:
    encoder = sam.image_encoder.eval()
    run = frozen_front(encoder, 2, SIDE)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    for have, want in zip(run(pixels), encoder.front(pixels), strict=True):
        assert (have - want).abs().max() < 1e-3 * max(1.0, want.abs().max().item())
    parts = front_parts(encoder)
    assert not any(p.requires_grad for part in parts for p in part.parameters())
    assert encoder.trunk.stages[5][0].body[0][0].weight.requires_grad
    assert not encoder.trunk.stages[5][0].body[1][1].weight.requires_grad  # one channel each


def test_a_start_that_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train_nano2.py", "--data", str(tmp_path), "--start", str(tmp_path / "no.safetensors")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=r"no\.safetensors: no such file.*pretrained\.py"):
        train_nano2.main()
