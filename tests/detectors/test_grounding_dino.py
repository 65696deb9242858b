"""The three steps against the plain forward of transformers, with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import AutoImageProcessor, PreTrainedModel

from perception.detectors.grounding_dino.network import GroundingDino
from perception.detectors.pretrained import to_pixels
from perception.detectors.text import Marks, TextPass, pack

from .published_tiny import QUERIES, bert_words, build, pictures, saved

FAMILIES = ("grounding-dino", "mm-grounding-dino")
SIZES = ((90, 120), (120, 90), (64, 64), (90, 120))


@pytest.fixture(scope="module", params=FAMILIES)
def theirs(request: pytest.FixtureRequest) -> PreTrainedModel:
    network = build(request.param)
    words = bert_words()
    marks = [words.index(mark) for mark in ("[CLS]", "[SEP]", ".", "?")]
    network.model.special_tokens = torch.tensor(marks)
    return network


@pytest.fixture
def ours(theirs: PreTrainedModel) -> GroundingDino:
    return GroundingDino(theirs)


def text_of(*phrases: str) -> TextPass:
    words = bert_words()
    marks = Marks(*(words.index(mark) for mark in ("[CLS]", "[SEP]", ".")))
    (text,) = pack([[words.index(w) for w in p.split()] for p in phrases], marks, limit=32)
    return text


def pixels_of(*sizes: tuple[int, int]) -> list[Tensor]:
    return to_pixels(AutoImageProcessor.from_pretrained(saved("grounding-dino")), pictures(*sizes))


def forward(network: PreTrainedModel, pixels: Tensor, text: TextPass) -> tuple[Tensor, Tensor]:
    ids = torch.from_numpy(text.ids)[None].expand(len(pixels), -1)
    with torch.inference_mode():
        out = network(pixel_values=pixels, input_ids=ids)
    return out.pred_boxes, out.logits[..., : len(text.ids)]


@pytest.mark.parametrize("phrases", [("cat",), ("red car", "dog", "a photo of a cat")])
@pytest.mark.parametrize("size", [(90, 120), (64, 200)])
def test_the_steps_give_what_the_plain_model_gives(
    theirs: PreTrainedModel,
    ours: GroundingDino,
    phrases: tuple[str, ...],
    size: tuple[int, int],
) -> None:
    text, pixels = text_of(*phrases), pixels_of(size)
    boxes, logits = ours.fuse(ours.encode_images(pixels), ours.encode_text(text))
    want_boxes, want_logits = forward(theirs, pixels[0][None], text)
    assert boxes.shape == (1, QUERIES, 4)
    assert logits.std() > 0.1
    torch.testing.assert_close(boxes, want_boxes)
    torch.testing.assert_close(logits, want_logits)


def test_pictures_of_one_size_as_the_plain_model_takes_them(
    theirs: PreTrainedModel, ours: GroundingDino
) -> None:
    text, pixels = text_of("cat", "red car"), pixels_of((64, 96), (64, 96))
    pixels[1] = pixels[1].flip(-1)
    boxes, logits = ours.fuse(ours.encode_images(pixels), ours.encode_text(text))
    want_boxes, want_logits = forward(theirs, torch.stack(pixels), text)
    torch.testing.assert_close(boxes, want_boxes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, want_logits, rtol=1e-3, atol=1e-3)


def test_a_batch_of_several_sizes_is_as_one_by_one(ours: GroundingDino) -> None:
    text, pixels = ours.encode_text(text_of("cat", "red car")), pixels_of(*SIZES)
    boxes, logits = ours.fuse(ours.encode_images(pixels), text)
    for number, one in enumerate(pixels):
        want_boxes, want_logits = ours.fuse(ours.encode_images([one]), text)
        torch.testing.assert_close(boxes[number], want_boxes[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits[number], want_logits[0], rtol=1e-3, atol=1e-3)


def test_levels_are_padded_to_the_largest_and_masked(ours: GroundingDino) -> None:
    pixels = pixels_of(*SIZES)
    images = ours.encode_images(pixels)
    assert len(images) == len(pixels)
    assert images.cells.shape[1] == sum(h * w for h, w in images.shapes)
    for number, one in enumerate(pixels):
        alone = ours.encode_images([one])
        real = images.real[number]
        assert alone.real.all()
        assert int(real.sum()) == alone.cells.shape[1]
        torch.testing.assert_close(images.cells[number, real], alone.cells[0], rtol=0, atol=1e-4)
        torch.testing.assert_close(images.places[number, real], alone.places[0], rtol=0, atol=1e-4)
        assert not images.cells[number, ~real].any()


def test_one_text_serves_many_pictures_and_one_picture_many_texts(ours: GroundingDino) -> None:
    """What was encoded is only read: asked again, it gives the same."""
    texts = [ours.encode_text(text_of(*phrases)) for phrases in (("cat",), ("red car", "dog"))]
    images = [ours.encode_images([one]) for one in pixels_of((64, 64), (90, 120))]
    first = [ours.fuse(image, text) for image in images for text in texts]
    again = [ours.fuse(image, text) for image in images for text in texts]
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_phrase_with_a_dot_is_read_as_one(ours: GroundingDino, theirs: PreTrainedModel) -> None:
    """The same tokens: the plain model takes them for two phrases, and answers something else."""
    text, pixels = text_of("dr . pepper"), pixels_of((64, 64))
    _, logits = ours.fuse(ours.encode_images(pixels), ours.encode_text(text))
    _, theirs_split = forward(theirs, pixels[0][None], text)
    assert (logits - theirs_split).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_is_near(theirs: PreTrainedModel, dtype: torch.dtype) -> None:
    """Of the text alone: which cells a random network chooses is a matter of the last digit."""
    text = text_of("cat", "red car")
    full, lower = GroundingDino(theirs), GroundingDino(theirs, dtype=dtype)
    want, have = full.encode_text(text).features, lower.encode_text(text).features
    assert 0 < (want - have).abs().max() < 0.05 * want.abs().max()
    boxes, logits = lower.fuse(lower.encode_images(pixels_of((64, 64))), lower.encode_text(text))
    assert boxes.dtype == logits.dtype == torch.float32
    assert torch.isfinite(boxes).all()
    assert torch.isfinite(logits).all()
