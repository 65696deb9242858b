"""Embeddings on disk: kept, bounded, and never trusted."""

import os
from pathlib import Path

import numpy as np
import pytest

from perception.serve.encoder import EmbeddingCache, cache_folder

SHAPE = (4, 5, 6)
FEATURES = np.arange(120, dtype=np.float16).reshape(SHAPE)


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


def test_round_trip(cache, tmp_path):
    assert cache.get("a", SHAPE) is None
    cache.put("a", FEATURES)
    assert (cache.get("a", SHAPE) == FEATURES).all()
    assert cache.get("b", SHAPE) is None
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["a.npy"]
    assert (np.load(tmp_path / "cache" / "a.npy") == FEATURES).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:-1],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:200] + bytes([raw[200] ^ 1]) + raw[201:],
        lambda raw: raw + b"x",
        lambda raw: b"<html>",
    ],
)
def test_a_damaged_file_is_none(cache, tmp_path, damage):
    cache.put("a", FEATURES)
    path = tmp_path / "cache" / "a.npy"
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("a", SHAPE) is None
    assert not path.exists()


def test_another_shape_is_none(cache):
    cache.put("a", FEATURES)
    assert cache.get("a", (4, 6, 5)) is None


def test_the_least_recently_used_go_first(tmp_path):
    size = FEATURES.nbytes + 128 + 16
    cache = EmbeddingCache(tmp_path, most_bytes=3 * size)
    for n, key in enumerate("abc"):
        cache.put(key, FEATURES)
        os.utime(tmp_path / f"{key}.npy", (n + 1, n + 1))
    assert cache.get("a", SHAPE) is not None
    cache.put("d", FEATURES)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_what_others_keep_there_is_left(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"x" * 1000)
    EmbeddingCache(tmp_path, most_bytes=0).put("a", FEATURES)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = EmbeddingCache(tmp_path / "file")
    cache.put("a", FEATURES)
    assert cache.get("a", SHAPE) is None


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PERCEPTION_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "embeddings"
    monkeypatch.delenv("PERCEPTION_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert isinstance(cache_folder(), Path)
