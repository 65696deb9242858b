from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception.detectors.nano.network import (
    STRIDES,
    NanoNetwork,
    build_nano_detector,
    cell_centers,
    edges_to_boxes,
)
from perception.runtime.convolutions import HalfBlock, pyramid_levels, pyramid_parts

from .tiny import CHANNELS, REGIONS, SIDE, WIDTH, build_tiny


@pytest.fixture(scope="module")
def network() -> NanoNetwork:
    return build_tiny()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("tokens", [1, 7])
def test_shapes(network: NanoNetwork, pictures: int, tokens: int) -> None:
    boxes, logits = network(draw(pictures, 3, SIDE, SIDE), draw(tokens, WIDTH))
    assert boxes.shape == (pictures, REGIONS, 4)
    assert logits.shape == (pictures, REGIONS, tokens)


def test_another_side_gives_other_regions(network: NanoNetwork) -> None:
    boxes, logits = network(draw(1, 3, 96, 96), draw(2, WIDTH))
    assert boxes.shape == (1, 12 * 12 + 6 * 6 + 3 * 3, 4)
    assert logits.shape == (1, len(boxes[0]), 2)


def test_two_pictures_together_are_as_two_alone(network: NanoNetwork) -> None:
    pixels, tokens = draw(2, 3, SIDE, SIDE), draw(5, WIDTH)
    together = network(pixels, tokens)
    for have, *want in zip(together, *(network(one[None], tokens) for one in pixels), strict=True):
        torch.testing.assert_close(have, torch.cat(want), rtol=0, atol=1e-3)  # pixels


def test_a_phrase_does_not_see_the_others(network: NanoNetwork) -> None:
    pixels, tokens = draw(1, 3, SIDE, SIDE), draw(9, WIDTH)
    boxes, logits = network(pixels, tokens)
    own_boxes, own = network(pixels, tokens[3:5])
    torch.testing.assert_close(logits[..., 3:5], own, rtol=0, atol=1e-5)
    torch.testing.assert_close(boxes, own_boxes, rtol=0, atol=0)


def test_the_picture_changes_the_words(network: NanoNetwork) -> None:
    tokens = draw(4, WIDTH)
    _, _, words = network.regions(draw(2, 3, SIDE, SIDE), tokens)
    assert words.shape == (2, 4, WIDTH)
    assert (words[0] - words[1]).abs().max() > 1e-4
    torch.testing.assert_close(words.norm(dim=-1), torch.ones(2, 4))


def test_the_mean_of_the_logits_is_the_logit_of_the_mean_word(network: NanoNetwork) -> None:
    regions, words = draw(2, 11, WIDTH), draw(2, 6, WIDTH, seed=1)
    mean_logit = network.score(regions, words).mean(-1)
    of_mean = network.score(regions, words.mean(1, keepdim=True))[..., 0]
    torch.testing.assert_close(of_mean, mean_logit, rtol=0, atol=1e-5)


def test_score_values(network: NanoNetwork) -> None:
    region = torch.zeros(1, 1, WIDTH)
    region[..., 0] = 2
    words = torch.stack((region[0], -region[0], torch.zeros(1, WIDTH)), dim=1)  # 1 x 3 x D
    want = torch.tensor([4.0, -4.0, 0.0]) * network.log_scale.exp() + network.bias
    torch.testing.assert_close(network.score(region, words)[0, 0], want)


def test_every_box_holds_the_center_of_its_cell(network: NanoNetwork) -> None:
    boxes, _ = network(draw(1, 3, SIDE, SIDE), draw(1, WIDTH))
    centers = torch.cat([cell_centers((SIDE // s, SIDE // s), s) for s in STRIDES])
    assert (boxes[0, :, :2] < centers).all()
    assert (boxes[0, :, 2:] > centers).all()


@pytest.mark.parametrize(
    ("hw", "stride", "want"),
    [
        ((1, 1), 8, [[4, 4]]),
        ((1, 2), 8, [[4, 4], [12, 4]]),
        ((2, 1), 32, [[16, 16], [16, 48]]),
        ((2, 2), 2, [[1, 1], [3, 1], [1, 3], [3, 3]]),
        ((0, 3), 8, []),
    ],
)
def test_cell_centers(hw: tuple[int, int], stride: int, want: list[list[float]]) -> None:
    assert cell_centers(hw, stride).tolist() == want


def test_edges_to_boxes() -> None:
    edges = torch.tensor([[[0.0, 0, 0, 0], [1, 2, 3, 4]], [[0.5, 0.5, 0.5, 0.5], [2, 0, 0, 0]]])
    want = [[[4, 4, 4, 4], [4, -12, 36, 36]], [[0, 0, 8, 8], [-4, 4, 12, 4]]]
    assert edges_to_boxes(edges, (1, 2), 8).tolist() == want


def test_the_coarsest_level_reaches_the_finest() -> None:
    parts = pyramid_parts((4, 8, 8, 16, 16), (1, 1, 1, 1), CHANNELS)
    for part in parts:
        part.eval()
    pixels = draw(2, 3, SIDE, SIDE)
    before = pyramid_levels(parts, pixels)
    assert [level.shape for level in before] == [
        (2, CHANNELS, SIDE // s, SIDE // s) for s in STRIDES
    ]
    parts[2][2].bias += 1.0  # type: ignore[operator]
    after = pyramid_levels(parts, pixels)
    assert all(((a - b).abs().amax(1) > 0).all() for a, b in zip(after, before, strict=True))


def test_half_of_the_channels_goes_round_the_convolutions() -> None:
    block = HalfBlock(6, depth=1).eval()
    x = draw(1, 6, 5, 5)
    split = block.split(x)
    joined = torch.cat((split[:, :3] + block.convs[0](split[:, :3]), split[:, 3:]), dim=1)
    torch.testing.assert_close(block(x), block.join(joined))


def test_the_keys_that_trained_weights_have() -> None:
    keys = set(build_nano_detector(20).state_dict())
    for key in (
        "backbone.stem.0.weight",
        "backbone.stages.3.1.convs.1.0.weight",
        "backbone.laterals.2.bias",
        "backbone.merges.1.join.1.running_var",
        "text.layers.1.qkv.weight",
        "fusion.key_value.weight",
        "heads.2.edges.1.bias",
        "log_scale",
        "bias",
    ):
        assert key in keys
    assert build_nano_detector(20).text.token.weight.shape == (20, 128)
