from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import Sam as ReferenceSam
from torch import nn

from perception.segmenters.sam.mask_decoder import (
    centerd_row_bias,
    centerd_row_weights,
    in_order,
    row_bias,
    row_weights,
)
from perception.segmenters.sam.network import Sam

from .tiny import CHANNELS


@pytest.mark.parametrize("prompts", [1, 3])
def test_agrees_with_the_published_network(
    tiny: Sam, reference: ReferenceSam, prompts: int
) -> None:
    embedding = torch.randn(1, CHANNELS, 8, 8)
    sparse, dense = torch.randn(prompts, 4, CHANNELS), torch.randn(prompts, CHANNELS, 8, 8)
    position = tiny.prompt_encoder.image_position()
    want_logits, want_quality = reference.mask_decoder.predict_masks(
        embedding, position, sparse, dense
    )
    image = tiny.mask_decoder.prepare(embedding, position, dense)
    tokens, cells, quality = tiny.mask_decoder.look(image, sparse)
    logits = tiny.mask_decoder.upscale(tokens, cells)
    assert logits.shape == (prompts, 4, 32, 32)
    assert want_logits.std() > 0.1
    assert (logits - want_logits).abs().max() <= 1e-4
    assert (quality - want_quality).abs().max() <= 1e-4


def test_prompts_of_several_pictures_in_one_call(tiny: Sam) -> None:
    embeddings = torch.randn(2, CHANNELS, 8, 8)
    coords, labels = torch.rand(3, 2, 2) * 64, torch.tensor([[1, -1], [0, 1], [2, 3]])
    picture_of_prompt = torch.tensor([0, 1, 1])
    images = tiny.prepare(embeddings)
    together, _ = tiny.decode(images.rows(picture_of_prompt), coords, labels)
    for i, picture in enumerate(picture_of_prompt):
        image = tiny.prepare(embeddings[picture][None])
        alone, _ = tiny.decode(image, coords[i][None], labels[i][None])
        assert (together[i] - alone[0]).abs().max() <= 1e-4


def test_no_prompts_are_no_masks(tiny: Sam) -> None:
    logits, quality = tiny.decode(
        tiny.prepare(torch.randn(1, CHANNELS, 8, 8)), torch.zeros(0, 2, 2), torch.zeros(0, 2)
    )
    assert logits.shape == (0, 4, 32, 32)
    assert quality.shape == (0, 4)


@pytest.mark.parametrize("bias", [True, False])
def test_rows_are_those_of_a_transposed_convolution(bias: bool) -> None:
    conv = nn.ConvTranspose2d(6, 5, 2, stride=2, bias=bias)
    x = torch.randn(2, 6, 3, 4)
    cells = x.permute(0, 2, 3, 1).flatten(1, 2)
    rows = [
        in_order(cells @ weight + row_bias(conv), conv).reshape(2, 3, 8, 5)
        for weight in row_weights(conv)
    ]
    finer = torch.stack(rows, dim=2).flatten(1, 2).permute(0, 3, 1, 2)
    assert (finer - conv(x)).abs().max() <= 1e-5


@pytest.mark.parametrize("bias", [True, False])
def test_centerd_rows_are_the_rows_less_their_mean(bias: bool) -> None:
    conv = nn.ConvTranspose2d(6, 5, 2, stride=2, bias=bias)
    cells = torch.randn(2, 12, 6)
    both = zip(row_weights(conv), centerd_row_weights(conv), strict=True)
    for weight, centerd_weight in both:
        want = in_order(cells @ weight + row_bias(conv), conv)
        have = in_order(cells @ centerd_weight + centerd_row_bias(conv), conv)
        assert have.mean(-1).abs().max() <= 1e-6
        assert (have - (want - want.mean(-1, keepdim=True))).abs().max() <= 1e-5


def test_only_good_masks_are_made(tiny: Sam) -> None:
    image = tiny.prepare(torch.randn(1, CHANNELS, 8, 8))
    coords, labels = torch.rand(5, 2, 2) * 64, torch.tensor([[1, -1]] * 5)
    logits, quality = tiny.decode(image, coords, labels)
    least = quality.median(dim=0).values
    least[0] = torch.inf
    good = (quality >= least).flatten()
    have, which, have_quality = tiny.decode_good(image, coords, labels, least)
    assert which.tolist() == good.nonzero()[:, 0].tolist()
    assert 0 < len(which) < 15
    torch.testing.assert_close(have_quality, quality)
    torch.testing.assert_close(have, logits.flatten(0, 1)[good])
    none, which, _ = tiny.decode_good(image, coords, labels, torch.full((4,), torch.inf))
    assert none.shape == (0, 32, 32)
    assert which.shape == (0,)
