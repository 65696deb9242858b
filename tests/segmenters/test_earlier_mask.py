"""An earlier mask as factors on a prepared image, against the image that has it written in."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import Sam as ReferenceSam

from perception.segmenters.sam.blocks import FEW_TOKENS
from perception.segmenters.sam.cells import FactoredCells, WrittenCells
from perception.segmenters.sam.network import Sam

from .tiny import CHANNELS, SIDE

OWN_TOKENS = 5


@pytest.mark.parametrize("prompts", [1, 3])
@pytest.mark.parametrize("places", [1, 2, 5, FEW_TOKENS - OWN_TOKENS, FEW_TOKENS])
def test_agrees_with_the_published_network(
    tiny: Sam, reference: ReferenceSam, prompts: int, places: int
) -> None:
    embedding, masks = torch.randn(1, CHANNELS, 8, 8), 3 * torch.randn(prompts, 1, 32, 32)
    coords = torch.rand(prompts, places, 2) * SIDE
    labels = torch.randint(-1, 4, (prompts, places))
    sparse = tiny.prompt_encoder.sparse(coords, labels)
    _, dense = reference.prompt_encoder(points=None, boxes=None, masks=masks)
    position = reference.prompt_encoder.get_dense_pe()
    want, want_quality = reference.mask_decoder.predict_masks(embedding, position, sparse, dense)

    image = tiny.prepare(embedding)
    have, quality = tiny.decode(image, coords, labels, masks)
    _, cells, _ = tiny.look(image, coords, labels, masks)
    few = places + OWN_TOKENS <= FEW_TOKENS
    assert isinstance(cells, FactoredCells if few else WrittenCells)
    assert (have - want).abs().max() <= 1e-4
    assert (quality - want_quality).abs().max() <= 1e-4
    without, _ = tiny.decode(image, coords, labels)
    assert (without - want).abs().max() > 0.1


@pytest.mark.parametrize("places", [2, FEW_TOKENS])
def test_no_mask_is_no_change(tiny: Sam, places: int) -> None:
    image = tiny.prepare(torch.randn(1, CHANNELS, 8, 8))
    coords, labels = torch.rand(2, places, 2) * SIDE, torch.randint(0, 2, (2, places))
    want = tiny.decode(image, coords, labels)
    have = tiny.decode(image, coords, labels, torch.zeros(2, 0, 32, 32))
    for ours, theirs in zip(have, want, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5


def test_prompts_of_several_pictures_and_masks_in_one_call(tiny: Sam) -> None:
    embeddings, masks = torch.randn(2, CHANNELS, 8, 8), 3 * torch.randn(3, 1, 32, 32)
    coords, labels = torch.rand(3, 2, 2) * SIDE, torch.tensor([[1, -1], [0, 1], [2, 3]])
    picture_of_prompt = torch.tensor([0, 1, 1])
    images = tiny.prepare(embeddings).rows(picture_of_prompt)
    together, _ = tiny.decode(images, coords, labels, masks)
    for i, picture in enumerate(picture_of_prompt):
        image = tiny.prepare(embeddings[picture][None])
        alone, _ = tiny.decode(image, coords[i][None], labels[i][None], masks[i][None])
        assert (together[i] - alone[0]).abs().max() <= 1e-4


def test_only_good_masks_are_made_of_prompts_with_masks(tiny: Sam) -> None:
    image, masks = tiny.prepare(torch.randn(1, CHANNELS, 8, 8)), torch.randn(4, 1, 32, 32)
    coords, labels = torch.rand(4, 2, 2) * SIDE, torch.tensor([[1, -1]] * 4)
    logits, quality = tiny.decode(image, coords, labels, masks)
    least = quality.median(dim=0).values
    have, which, _ = tiny.decode_good(image, coords, labels, least, masks)
    assert 0 < len(which) < 16
    torch.testing.assert_close(have, logits.flatten(0, 1)[which])
