from __future__ import annotations

import copy

import numpy as np
import torch
from scenes.scene import Painter
from teach_text import AskedPhrases, kept_loss

from perception.detectors.nano.network import TextEncoder


def test_what_is_kept_costs_nothing_until_it_moves() -> None:
    torch.manual_seed(0)
    text = TextEncoder(vocabulary=9, width=16, depth=1, heads=2, hidden=16)
    before = copy.deepcopy(text).requires_grad_(False)
    ids = torch.tensor([[3, 4, 0], [5, 0, 0]])
    assert kept_loss(text, before, ids) == 0
    with torch.no_grad():
        text.token.weight[7] += 1  # of no phrase here
    assert kept_loss(text, before, ids) == 0
    with torch.no_grad():
        text.token.weight[4] += torch.randn(16)
    assert kept_loss(text, before, ids) > 0


def test_asked_phrases_are_names_and_shapes(painter: Painter) -> None:
    phrases = AskedPhrases.__new__(AskedPhrases)
    phrases.names = painter.names
    drawn = phrases.draw(90, np.random.default_rng(0))
    assert len(drawn) == 90
    assert sum(phrase in painter.names for phrase in drawn) >= 60
    assert any("striped" in phrase for phrase in drawn)
    assert any(phrase.startswith("small ") for phrase in drawn)
