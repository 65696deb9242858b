"""The order of encoding, and that one image is encoded once."""

from threading import Event

import numpy as np
import pytest
from fakes import drawing

from perception.errors import ImageError
from perception.runs.records import MarkedContent
from perception.serve.encoder import EmbeddingCache, Encoder, to_half

from .conftest import served_model


@pytest.fixture
def served():
    return served_model()


@pytest.fixture
def encoder(served, tmp_path):
    encoder = Encoder(served, EmbeddingCache(tmp_path))
    yield encoder
    encoder.close()


def content(name):
    return MarkedContent(name, (96, 128), None)


def test_what_is_looked_at_comes_first(encoder):
    begun, go_on, order = Event(), Event(), []

    def image(name):
        def give():
            if name == "first":
                begun.set()
                go_on.wait(10)
            order.append(name)
            return drawing()

        return give

    futures = [encoder.features(content("first"), image("first"))]
    begun.wait(10)
    for name in ("ahead", "wanted ahead", "later"):
        futures.append(encoder.features(content(name), image(name), ahead=True))
    futures.append(encoder.features(content("now"), image("now")))
    futures.append(encoder.features(content("wanted ahead"), image("wanted ahead")))
    go_on.set()
    for future in futures:
        assert future.result(10).shape == (3, 64, 64)
    assert order == ["first", "now", "wanted ahead", "ahead", "later"]
    assert futures[2] is futures[5]


def test_kept_on_disk(served, encoder, tmp_path):
    first = encoder.features(content("x"), drawing).result(10)
    other = Encoder(served, EmbeddingCache(tmp_path))
    try:
        again = other.features(content("x"), drawing).result(10)
        embedding = other.embedding(content("x"), drawing)
    finally:
        other.close()
    assert (first == again).all()
    assert (embedding.features == first).all()
    assert served.segmenter.encoded == 1


def test_another_model_has_others(served, encoder, tmp_path):
    from dataclasses import replace

    encoder.features(content("x"), drawing).result(10)
    changed = replace(served.model, weights={"fake.onnx": "1" * 64})
    other = Encoder(replace(served, model=changed), EmbeddingCache(tmp_path))
    try:
        other.features(content("x"), drawing).result(10)
    finally:
        other.close()
    assert served.segmenter.encoded == 2


def test_what_goes_wrong_is_for_who_waits(encoder):
    def damaged():
        raise ImageError("damaged")

    with pytest.raises(ImageError, match="damaged"):
        encoder.features(content("x"), damaged).result(10)
    assert encoder.features(content("x"), drawing).result(10).shape == (3, 64, 64)


def test_prepared_once(served, encoder):
    first = encoder.embedding(content("x"), drawing)
    assert encoder.embedding(content("x"), drawing) is first
    for n in range(10):
        encoder.embedding(content(str(n)), drawing)
    assert encoder.embedding(content("x"), drawing) is not first


def test_halves_are_finite():
    half = to_half(np.array([1e9, -1e9, 0.1], np.float32))
    assert half.dtype == np.float16
    assert np.isfinite(half).all()
