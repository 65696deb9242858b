"""AdaptiveBatcher that halve when memory runs out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from fakes import ColorDetector, color_model, drawing

from perception.errors import ImageError, OutOfMemoryError
from perception.models.model import Model
from perception.runtime.batching import AdaptiveBatcher, is_out_of_memory


class Small:
    """Work that fits a few items at once; what it was given."""

    def __init__(self, fits: int, error: Exception) -> None:
        self.fits, self.error, self.given = fits, error, list[int]()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.given.append(len(items))
        if len(items) > self.fits:
            raise self.error
        return [2 * item for item in items]


ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    RuntimeError("[ONNXRuntimeError] : Failed to allocate memory for requested buffer of size 9"),
    RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_halves_says_so_once_and_remembers(error: Exception) -> None:
    batches, work = AdaptiveBatcher(), Small(2, error)
    with pytest.warns(RuntimeWarning, match="not enough memory for 8 images at once") as said:
        assert batches.run(range(19), work, most=8) == [2 * n for n in range(19)]
    assert len(said) == 1
    assert work.given == [8, 4, *[2] * 9, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batches.run(range(3), work, most=8) == [0, 2, 4]
    assert work.given[-2:] == [2, 1]


def test_one_that_does_not_fit() -> None:
    with (
        pytest.warns(RuntimeWarning, match="going on with fewer"),
        pytest.raises(OutOfMemoryError, match=r"one image \(MemoryError\); .*--device cpu"),
    ):
        AdaptiveBatcher().run(range(2), Small(0, MemoryError()), most=2)


def test_other_errors_go_through() -> None:
    work = Small(0, RuntimeError("shapes don't fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        AdaptiveBatcher().run(range(4), work, most=4)
    assert work.given == [4]


def test_nothing_to_do() -> None:
    assert AdaptiveBatcher().run([], Small(0, MemoryError()), most=4) == []


def test_what_says_that_memory_ran_out() -> None:
    assert not is_out_of_memory(RuntimeError("memory format option is not supported"))
    assert not is_out_of_memory(ImageError("an image"))
    assert not is_out_of_memory(OutOfMemoryError("said already"))


class Narrow(ColorDetector):
    """Runs out of memory with more than so many images."""

    def __init__(self, fits: int) -> None:
        self.fits, self.given = fits, list[int]()

    def candidates(self, images, phrases, *, floor):
        self.given.append(len(images))
        if len(images) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().candidates(images, phrases, floor=floor)


def test_a_list_of_pictures() -> None:
    pictures = [drawing(things=[("red", (8, 8, 20 + n, 40))]) for n in range(6)]
    expected = color_model()(pictures, "red")
    detector = Narrow(2)
    model = Model(detector, color_model().predictor)
    with pytest.warns(RuntimeWarning, match="4 images at once"):
        found = model(pictures, "red")
    assert detector.given == [4, 2, 2, 2]
    for one, other in zip(found, expected, strict=True):
        assert one.rles == other.rles
        np.testing.assert_array_equal(one.boxes, other.boxes)
    with pytest.raises(OutOfMemoryError, match="smaller image"):
        Model(Narrow(0), model.predictor).detect(pictures[0], "red")
    with pytest.raises(ImageError, match="no such file"):
        model([pictures[0], "nowhere.png"], "red")
