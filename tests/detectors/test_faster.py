from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("transformers")

from perception.detectors.deformable import DeformableAttention, DeformableLayer
from perception.detectors.grounding_dino.network import GroundingDino, make_faster
from perception.detectors.swin import SwinLayer
from perception.detectors.text import Marks, pack
from tests.detectors import published_tiny

FAMILIES = ("grounding-dino", "mm-grounding-dino")
WIDTH = published_tiny.GROUNDING["d_model"]
TEXT = pack([[5, 6, 7], [8], [9, 10]], Marks(2, 3, 4), limit=32)[0]


def noisy(family: str) -> Any:
    """A tiny network in which every offset, bias and weight says something."""
    network = published_tiny.build(family)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if any(part in name for part in ("sampling_offsets", "bias", "_param", "attention_")):
                weight += 0.3 * torch.randn(weight.shape)
        # With one query for all places it does not matter which of two equal cells comes first.
        places = network.model.query_position_embeddings.weight
        places.copy_(places[:1].expand_as(places))
    return network


def pictures(*sizes: tuple[int, int]) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(3, *size) for size in sizes]


def answers(network: Any, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Cells, words, boxes and logits; queries by falling score."""
    steps = GroundingDino(network)
    images, text = steps.encode_images(pictures(*sizes)), steps.encode_text(TEXT)
    cells, words = steps._enhance(images, text)
    boxes, logits = steps.fuse(images, text)
    order = logits.amax(-1).argsort(dim=1, descending=True)[..., None]
    return [
        cells[images.real],
        words,
        boxes.take_along_dim(order, 1),
        logits.take_along_dim(order, 1),
    ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sizes", [[(64, 85)], [(64, 85), (96, 50), (64, 85)]])
def test_the_answers_stay_the_same(family: str, sizes: list[tuple[int, int]]) -> None:
    network = noisy(family)
    want = answers(network, sizes)
    make_faster(network)
    for have, wanted in zip(answers(network, sizes), want, strict=True):
        torch.testing.assert_close(have, wanted, atol=2e-4, rtol=1e-4)


def test_every_slow_module_is_replaced() -> None:
    network = noisy("grounding-dino")
    make_faster(network)
    names = {type(module).__name__ for module in network.modules()}
    slow = {
        "GroundingDinoFusionLayer",
        "GroundingDinoMultiheadAttention",
        "GroundingDinoMultiscaleDeformableAttention",
    }
    assert not names & slow
    assert {"CrossAttention", "DeformableLayer", "SwinLayer"} <= names


def test_another_activation_is_kept() -> None:
    network = noisy("grounding-dino")
    network.config.activation_function = "silu"
    for layer in network.model.encoder.layers:
        layer.deformable_layer.activation_fn = nn.SiLU()
    want = answers(network, [(64, 85)])
    make_faster(network)
    layer = network.model.encoder.layers[0].deformable_layer
    assert not isinstance(layer, DeformableLayer)
    assert isinstance(layer.self_attn, DeformableAttention)
    for have, wanted in zip(answers(network, [(64, 85)]), want, strict=True):
        torch.testing.assert_close(have, wanted, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (3, 2), (4, 5), (16, 1)])
@pytest.mark.parametrize("shift", [0, 2])
def test_windows_of_any_picture(size: tuple[int, int], shift: int) -> None:
    backbone = noisy("grounding-dino").model.backbone.conv_encoder.model
    slow = backbone.swin.encoder.layers[1].blocks[0]
    slow.shift_size = shift
    with torch.inference_mode():
        table = slow.attention.relative_position_bias.relative_position_bias_table
        table.copy_(torch.randn(table.shape))
        fast = SwinLayer(copy.deepcopy(slow))
        cells = torch.randn(2, size[0] * size[1], 32)
        (want, _), (have, _) = slow(cells, size, always_partition=True), fast(cells, size)
    torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_places_far_outside_count_for_nothing(coordinates: int) -> None:
    slow = noisy("grounding-dino").model.encoder.layers[0].deformable_layer.self_attn
    shapes = [(6, 5), (3, 3), (2, 2), (1, 1)]
    cells = torch.randn(2, sum(h * w for h, w in shapes), WIDTH)
    queries = torch.randn(2, 7, WIDTH)
    reference = torch.randn(2, 7, 4, coordinates) * 3
    real = torch.rand(2, cells.shape[1]) < 0.8
    given = {
        "hidden_states": queries,
        "attention_mask": real,
        "encoder_hidden_states": cells,
        "position_embeddings": torch.randn(2, 7, WIDTH),
        "reference_points": reference,
        "spatial_shapes": torch.tensor(shapes),
        "spatial_shapes_list": shapes,
    }
    with torch.inference_mode():
        (want, _), (have, _) = slow(**given), DeformableAttention(slow)(**given)
    assert want.std() > 0.01
    torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-4)


def test_half_precision_stays_near() -> None:
    network = noisy("grounding-dino")
    make_faster(network)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        out = network.model.encoder.layers[0].deformable_layer
        cells = torch.randn(1, 30, WIDTH)
        reference = torch.rand(1, 30, 4, 2)
        given = {
            "hidden_states": cells,
            "attention_mask": torch.ones(1, 30, dtype=torch.bool),
            "position_embeddings": cells * 0,
            "reference_points": reference,
            "spatial_shapes_list": [(4, 5), (2, 3), (1, 3), (1, 1)],
        }
        have, _ = out(**given)
        torch.set_autocast_enabled("cpu", False)
        want, _ = out(**given)
    torch.testing.assert_close(have.float(), want, atol=0.1, rtol=0.1)
