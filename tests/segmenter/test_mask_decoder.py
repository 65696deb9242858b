from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import Sam as ReferenceSam
from torch import nn

from perception.segmenter.mask_decoder import quarters
from perception.segmenter.sam import Sam

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
    logits, quality = tiny.mask_decoder(embedding, position, sparse, dense)
    assert logits.shape == (prompts, 4, 32, 32)
    assert want_logits.std() > 0.1
    assert (logits - want_logits).abs().max() <= 1e-4
    assert (quality - want_quality).abs().max() <= 1e-4


def test_prompts_of_several_pictures_in_one_call(tiny: Sam) -> None:
    embeddings = torch.randn(2, CHANNELS, 8, 8)
    coords, labels = torch.rand(3, 2, 2) * 64, torch.tensor([[1, -1], [0, 1], [2, 3]])
    picture_of_prompt = torch.tensor([0, 1, 1])
    together, _ = tiny.decode(embeddings[picture_of_prompt], coords, labels)
    for i, picture in enumerate(picture_of_prompt):
        alone, _ = tiny.decode(embeddings[picture][None], coords[i][None], labels[i][None])
        assert (together[i] - alone[0]).abs().max() <= 1e-4


def test_no_prompts_are_no_masks(tiny: Sam) -> None:
    logits, quality = tiny.decode(
        torch.randn(1, CHANNELS, 8, 8), torch.zeros(0, 2, 2), torch.zeros(0, 2)
    )
    assert logits.shape == (0, 4, 32, 32)
    assert quality.shape == (0, 4)


@pytest.mark.parametrize("bias", [True, False])
def test_quarters_are_a_transposed_convolution(bias: bool) -> None:
    conv = nn.ConvTranspose2d(6, 5, 2, stride=2, bias=bias)
    x = torch.randn(2, 6, 3, 4)
    cells = quarters(x.permute(0, 2, 3, 1), conv)  # 2 x 3 x 4 x 4 x 5
    finer = cells.reshape(2, 3, 4, 2, 2, 5).permute(0, 5, 1, 3, 2, 4).reshape(2, 5, 6, 8)
    assert (finer - conv(x)).abs().max() <= 1e-5
