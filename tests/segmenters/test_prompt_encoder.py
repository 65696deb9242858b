from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import Sam as ReferenceSam

from perception.segmenters.sam.network import Sam
from perception.segmenters.sam.prompt_encoder import PromptEncoder

from .tiny import CHANNELS, SIDE, build_tiny

POINTS = torch.tensor([[[3.0, 60.0], [31.5, 0.0]], [[0.0, 0.0], [64.0, 64.0]]])  # 2 x 2 x 2
POINT_LABELS = torch.tensor([[1, 0], [0, 1]])
BOXES = torch.tensor([[1.0, 2.0, 30.0, 40.0], [0.0, 0.0, 64.0, 64.0]])
CORNERS, CORNER_LABELS = BOXES.reshape(-1, 2, 2), torch.tensor([[2, 3], [2, 3]])
PAD, PAD_LABELS = torch.full((2, 1, 2), 17.0), torch.full((2, 1), -1)


@pytest.mark.parametrize(
    ("coords", "labels", "published"),
    [
        ((POINTS, PAD), (POINT_LABELS, PAD_LABELS), ((POINTS, POINT_LABELS), None)),
        ((CORNERS,), (CORNER_LABELS,), (None, BOXES)),
        ((POINTS, CORNERS), (POINT_LABELS, CORNER_LABELS), ((POINTS, POINT_LABELS), BOXES)),
    ],
    ids=["points", "boxes", "points and box"],
)
def test_tokens_agree_with_the_published_network(
    tiny: Sam, reference: ReferenceSam, coords, labels, published
) -> None:
    points, boxes = published
    want, _ = reference.prompt_encoder(points=points, boxes=boxes, masks=None)
    have = tiny.prompt_encoder.sparse(torch.cat(coords, 1), torch.cat(labels, 1))
    assert have.shape == want.shape
    assert (have - want).abs().max() <= 1e-5


def test_no_places_are_no_tokens(tiny: Sam) -> None:
    none = tiny.prompt_encoder.sparse(torch.zeros(0, 2, 2), torch.zeros(0, 2))
    assert none.shape == (0, 2, CHANNELS)


def test_labels_may_be_floats(tiny: Sam) -> None:
    encoder = tiny.prompt_encoder
    whole = encoder.sparse(POINTS, POINT_LABELS)
    assert torch.equal(encoder.sparse(POINTS, POINT_LABELS.float()), whole)


def test_an_unknown_label_is_an_error(tiny: Sam) -> None:
    with pytest.raises(IndexError):
        tiny.prompt_encoder.sparse(POINTS, POINT_LABELS + 4)


def test_a_place_is_moved_to_the_center_of_its_pixel(tiny: Sam) -> None:
    encoder = tiny.prompt_encoder
    kind = encoder.point_embeddings[1].weight
    center = torch.full((1, 1, 2), 0.5)  # of the whole image, in 0..1
    have = encoder.sparse(torch.full((1, 1, 2), SIDE / 2 - 0.5), torch.ones(1, 1))
    assert torch.allclose(have, encoder.pe_layer(center) + kind, atol=1e-6)


def test_earlier_masks_agree_with_the_published_network(tiny: Sam, reference: ReferenceSam) -> None:
    masks = 5 * torch.randn(2, 1, 32, 32)
    _, want = reference.prompt_encoder(points=None, boxes=None, masks=masks)
    assert (tiny.prompt_encoder.dense(masks) - want).abs().max() <= 1e-5


def test_an_earlier_mask_as_factors_adds_the_same(tiny: Sam) -> None:
    encoder, masks = tiny.prompt_encoder, torch.randn(3, 1, 32, 32)
    want = (encoder.dense(masks) - encoder.dense()).flatten(2).transpose(1, 2)
    assert (encoder.earlier(masks).added() - want).abs().max() <= 1e-5
    none = encoder.earlier(masks[:, :0])
    assert none.shares.shape == (3, 0, 17, 64)
    assert not none.added().any()


def test_has_mask_picks_row_by_row(tiny: Sam) -> None:
    encoder = tiny.prompt_encoder
    masks = torch.randn(3, 1, 32, 32)
    have = encoder.dense(masks, torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(have[[0, 2]], encoder.dense(masks)[[0, 2]])
    assert torch.equal(have[1], encoder.dense()[0].expand(-1, 8, 8))


def test_image_position_agrees_with_the_published_network(
    tiny: Sam, reference: ReferenceSam
) -> None:
    want = reference.prompt_encoder.get_dense_pe()
    assert (tiny.prompt_encoder.image_position() - want).abs().max() <= 1e-5


def test_weights_fit_every_side() -> None:
    small = PromptEncoder(channels=CHANNELS, image_size=32, embedding_size=4, mask_channels=16)
    small.load_state_dict(build_tiny().prompt_encoder.state_dict(), strict=True)
    assert small.image_position().shape == (1, CHANNELS, 4, 4)


def test_a_place_keeps_its_precision_under_autocast(tiny: Sam) -> None:
    places = torch.rand(1, 5, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        have = tiny.prompt_encoder.pe_layer(places)
    assert torch.equal(have, tiny.prompt_encoder.pe_layer(places))
