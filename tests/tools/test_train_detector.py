from __future__ import annotations

import numpy as np
import pytest
import torch
from detection_batches import DetectionBatch
from detectors.tiny import CHANNELS, PIECES, REGIONS, SIDE, build_tiny
from train_detector import centers_of, phrase_logits, step

from perception.detectors import decode
from perception.detectors.nano.onnx import Tokenizer

PHRASES = ["red cat", "car", "horse face e-e"]


def test_phrases_score_as_they_do_in_use() -> None:
    """Training scores a phrase's mean word, use the mean of its tokens' scores: the same."""
    network, tokenizer = build_tiny(), Tokenizer(PIECES)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        boxes, logits = phrase_logits(
            network, pixels, torch.from_numpy(tokenizer.encode_batch(PHRASES))
        )
        words = [network.text(torch.tensor([tokenizer.encode(p)]))[0] for p in PHRASES]
        want_boxes, by_token = network(pixels, torch.cat(words))
    assert boxes.shape == (2, REGIONS, 4)
    assert logits.shape == (2, REGIONS, len(PHRASES))
    torch.testing.assert_close(boxes, want_boxes, rtol=0, atol=1e-4)
    spans = np.array([len(rows) for rows in words])
    for ours, theirs in zip(logits, by_token, strict=True):
        want = decode.phrase_logits(theirs.numpy(), spans)
        np.testing.assert_allclose(ours.numpy(), want, rtol=0, atol=1e-5)


def test_centers_are_in_the_order_of_the_regions() -> None:
    centers = centers_of(SIDE, torch.device("cpu"))
    assert centers.shape == (REGIONS, 2)
    with torch.no_grad():
        boxes, _ = build_tiny()(torch.randn(1, 3, SIDE, SIDE), torch.randn(1, CHANNELS * 2))
    assert ((boxes[0, :, :2] < centers) & (centers < boxes[0, :, 2:])).all()


@pytest.fixture
def batch() -> DetectionBatch:
    """Two images of one square each, red or green; "red cat" is true of one, "car" of both."""
    images = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
    images[0, 16:48, 16:48, 0] = 255
    images[1, 8:40, 24:56, 1] = 255
    boxes = torch.zeros(2, 3, 4)
    boxes[0, 0] = torch.tensor([16.0, 16, 48, 48])
    boxes[1, 0] = torch.tensor([24.0, 8, 56, 40])
    truth = torch.zeros(2, 3, len(PHRASES), dtype=torch.bool)
    truth[0, 0, 0] = truth[:, 0, 1] = True
    ids = torch.from_numpy(Tokenizer(PIECES).encode_batch(PHRASES))
    return DetectionBatch(images, ids, boxes, truth)


def test_a_tiny_detector_learns_a_batch(batch: DetectionBatch) -> None:
    network = build_tiny().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss, parts = step(network, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert set(parts) == {"words", "names", "boxes"}
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_every_weight_learns(batch: DetectionBatch) -> None:
    network = build_tiny().train()
    loss, _ = step(network, batch)
    loss.backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert idle == []
