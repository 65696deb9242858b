from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from segment_anything import sam_model_registry

from perception.segmenters.sam.network import (
    Sam,
    build_nano,
    build_nano2,
    build_sam_vit_b,
    build_sam_vit_h,
    build_sam_vit_l,
)


@pytest.mark.parametrize(
    ("name", "build"),
    [("vit_b", build_sam_vit_b), ("vit_l", build_sam_vit_l), ("vit_h", build_sam_vit_h)],
)
def test_keys_and_shapes_are_those_of_the_published_checkpoints(
    name: str, build: Callable[[], Sam]
) -> None:
    with torch.device("meta"):
        want = sam_model_registry[name]().state_dict()
        have = build()
    assert {k: v.shape for k, v in have.state_dict().items()} == {
        k: v.shape for k, v in want.items()
    }
    assert (have.side, have.mask_size) == (1024, 256)
    assert not have.training


def test_nano_is_small() -> None:
    assert 1.0e6 < sum(p.numel() for p in build_nano().parameters()) < 2.7e6


def test_nano2_is_small_enough() -> None:
    assert 5.0e6 < sum(p.numel() for p in build_nano2().parameters()) < 6.0e6


def test_fine_features_reach_their_cells_of_the_masks_alone() -> None:
    """Where the encoder's fine channels change in a cell, masks change in it and not elsewhere."""
    torch.manual_seed(0)
    nano = build_nano2(64)
    assert nano.embedding_shape == (192, 8, 8)
    embedding = torch.randn(1, 192, 8, 8)
    other = embedding.clone()
    row, column, down, right = 5, 2, 1, 0
    for channel in range(24):  # of the lower left of the cell's four
        other[0, 96 + 4 * channel + 2 * down + right, row, column] += torch.randn(())
    coords, labels = torch.rand(2, 2, 2) * 64, torch.tensor([[1, -1], [2, 3]])
    for is_factored in (True, False):
        before, after = (
            nano.decode(nano.prepare(e, factored=is_factored), coords, labels)[0]
            for e in (embedding, other)
        )
        rows, columns = ((before - after).abs().amax((0, 1)) > 1e-6).nonzero().unbind(1)
        assert set(rows.tolist()) <= {4 * row + 2 * down, 4 * row + 2 * down + 1}
        assert set(columns.tolist()) <= {4 * column + 2 * right, 4 * column + 2 * right + 1}
        assert len(rows) == 4


def test_fine_features_are_the_same_factored_and_written_out() -> None:
    torch.manual_seed(0)
    nano = build_nano2(64)
    embeddings = torch.randn(2, 192, 8, 8)
    coords, labels = torch.rand(2, 3, 2) * 64, torch.tensor([[1, 0, -1], [2, 3, 1]])
    have, want = (
        nano.decode(nano.prepare(embeddings, factored=f), coords, labels)[0] for f in (True, False)
    )
    assert (have - want).abs().max() < 1e-4
    rows = torch.tensor([1, 0])
    turned = nano.prepare(embeddings).rows(rows)
    again, _ = nano.decode(turned, coords[rows], labels[rows])
    assert (again[rows] - have).abs().max() < 1e-4


@pytest.mark.parametrize("side", [64, 96])
def test_nano_answers_at_half_of_its_side(side: int) -> None:
    nano = build_nano(side)
    embedding = nano.encode(torch.randn(1, 3, side, side))
    logits, _ = nano.decode(nano.prepare(embedding), torch.zeros(2, 1, 2), torch.ones(2, 1))
    assert embedding.shape == (1, 96, side // 8, side // 8)
    assert logits.shape == (2, 4, side // 2, side // 2)
    assert (nano.side, nano.mask_size) == (side, side // 2)


def test_nano_weights_fit_every_side() -> None:
    build_nano(64).load_state_dict(build_nano(320).state_dict(), strict=True)


def test_every_nano_weight_learns() -> None:
    with torch.enable_grad():
        nano = build_nano(32).train()
        embeddings = nano.encode(torch.randn(2, 3, 32, 32))
        coords = torch.rand(4, 5, 2) * 32
        labels = torch.tensor([[-1, 0, 1, 2, 3]] * 4)
        masks, has_mask = torch.randn(4, 1, 16, 16), torch.tensor([1, 0, 1, 0])
        image = nano.prepare(embeddings[torch.tensor([0, 0, 1, 1])], masks, has_mask)
        logits, quality = nano.decode(image, coords, labels)
        (logits.square().mean() + quality.square().mean()).backward()
    # A key bias adds the same to every cell's score: softmax drops it, and so does the network.
    assert all(
        "cross_attn_token_to_image.k_proj.bias" in name or "final_attn" in name
        for name, p in nano.named_parameters()
        if p.grad is None
    )
