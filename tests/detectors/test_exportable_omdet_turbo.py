"""The last of OmDet-Turbo's graphs against transformers' decoder, before anything is traced."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from perception.detectors.omdet_turbo.export import ExportableOmDetBoxes

from .published_tiny import QUERIES, build


@pytest.mark.parametrize(
    "settings",
    [{}, {"class_distance_type": "dot"}, {"learn_initial_query": True}],
    ids=str,
)
@pytest.mark.parametrize(("phrases", "words"), [(4, 9), (1, 5)])
def test_as_transformers_does_it(settings: dict[str, Any], phrases: int, words: int) -> None:
    network: Any = build("omdet-turbo", **settings)
    module = ExportableOmDetBoxes(network).eval()
    draw = torch.Generator().manual_seed(1)
    classes, sentence = (torch.randn(n, 16, generator=draw) for n in (phrases, words))
    maps = [torch.randn(1, 32, side, side + 1, generator=draw) for side in (8, 4, 2)]
    want = network.decoder(
        maps, classes[:, None], sentence[:, None], torch.ones(1, words), return_dict=True
    )
    boxes, logits, fits, cells = module(classes, sentence, *maps)
    torch.testing.assert_close(boxes, want.decoder_coords[-1][0], rtol=0, atol=1e-5)
    torch.testing.assert_close(logits, want.decoder_classes[-1][0], rtol=0, atol=1e-4)
    best = want.encoder_class_logits[0].amax(-1)
    torch.testing.assert_close(fits, best, rtol=0, atol=1e-5)
    assert len(set(cells.tolist())) == QUERIES
