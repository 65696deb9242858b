"""What the segmenter's tests share: a tiny SAM, its published twin, its ONNX files, an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam as ReferenceSam

from perception.segmenters.sam.export import export_fast
from perception.segmenters.sam.network import Sam
from perception.types import ImageArray

from .tiny import add_noise, build_reference, build_tiny


@pytest.fixture(autouse=True)
def _small_work() -> Iterator[None]:
    """One thread, because these networks are too small to share out; no gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny() -> Sam:
    torch.manual_seed(0)
    sam = build_tiny()
    add_noise(sam)
    return sam


@pytest.fixture(scope="session")
def reference(tiny: Sam) -> ReferenceSam:
    other = build_reference()
    other.load_state_dict(tiny.state_dict(), strict=True)
    return other


@pytest.fixture
def predictor(reference: ReferenceSam) -> SamPredictor:
    return SamPredictor(reference)


@pytest.fixture
def picture() -> Callable[[int, int], ImageArray]:
    """A smooth image with an edge, height x width."""

    def draw(height: int, width: int) -> ImageArray:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        planes = [x / width, y / height, ((x - width / 2) ** 2 < (width / 4) ** 2)]
        return (np.stack(planes, axis=-1) * 255).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def onnx_files(tiny: Sam, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The tiny SAM as encoder, preparer and decoder files."""
    folder = tmp_path_factory.mktemp("onnx")
    export_fast(tiny, folder, name="tiny", prefix="tiny")
    encoder, preparer, decoder = (
        folder / f"tiny-{part}.onnx" for part in ("encoder", "preparer", "decoder")
    )
    return encoder, preparer, decoder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder, as transformers saves it, with a tiny network of each published family."""
    from .published_tiny import BUILDERS, save

    return {
        family: save(build(), tmp_path_factory.mktemp(family)) for family, build in BUILDERS.items()
    }
