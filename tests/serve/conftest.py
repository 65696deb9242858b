"""A service over a folder of drawings, whose model looks at colors, and a client for it."""

from contextlib import contextmanager

import numpy as np
import pytest
from fakes import CELLS, SIDE, ColorDetector, ColorSegmenter, HereReader, drawing
from PIL import Image
from starlette.testclient import TestClient

from perception.imaging.preprocess import Frame
from perception.models.model import Model
from perception.predictor.whole import WholeImagePredictor
from perception.serve.encoder import EmbeddingCache
from perception.serve.middleware import Access
from perception.serve.opening import ServedModel, open_run
from perception.serve.server import build_app
from perception.serve.service import Service
from perception.types import Embedding

HOME = "http://127.0.0.1:8000"


class KeptColors(ColorSegmenter):
    """Its embeddings, colors of 0..255, are the same in float16."""

    side, embedding_shape, version = SIDE, (3, CELLS, CELLS), ""

    def restore(self, features, image_hw):
        return Embedding(features.astype(int), Frame(image_hw, SIDE), self.name)


def served_model():
    segmenter = KeptColors()
    model = Model(ColorDetector(), WholeImagePredictor(segmenter), {"fake.onnx": "0" * 64})
    return ServedModel(model, segmenter)


@pytest.fixture(autouse=True)
def reader_in_this_process(monkeypatch):
    monkeypatch.setattr("perception.serve.images.Reader", HereReader)


@pytest.fixture
def folder(tmp_path):
    """in/a.png with red and blue, in/b.jpg with red, in/sub/a.png with nothing."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    Image.fromarray(drawing()).save(tmp_path / "in" / "a.png")
    red = [("red", (8, 8, 40, 40))]
    Image.fromarray(drawing(things=red)).save(tmp_path / "in" / "b.jpg", quality=95)
    Image.fromarray(drawing(things=[])).save(tmp_path / "in" / "sub" / "a.png")
    return tmp_path / "in"


@pytest.fixture
def serving(folder, tmp_path):
    """Begins a service, as often as it is called; gives it and a client."""
    default = folder

    @contextmanager
    def serve(
        *, text="red. sky: blue", access=None, home=HOME, folder=default, out=None, **options
    ):
        served, out = served_model(), out or tmp_path / "out.json"
        with open_run(folder, out, served.model, text=text, **options) as run:
            cache = EmbeddingCache(tmp_path / "cache")
            service = Service(run, served, out, cache=cache, threshold=0.3)
            app = build_app(service, access or Access("127.0.0.1"))
            try:
                client = TestClient(app, home, raise_server_exceptions=False)
                yield service, client
            finally:
                service.close()

    return serve


@pytest.fixture
def service_and_client(serving):
    with serving() as both:
        yield both


@pytest.fixture
def service(service_and_client):
    return service_and_client[0]


@pytest.fixture
def client(service_and_client):
    return service_and_client[1]


@pytest.fixture
def mark():
    """A mark as the page sends it, of a box in an image of 96 x 128, or of another size."""
    from perception.ops.masks import mask_to_rle

    def make(box=(10, 10, 30, 30), uid="a" * 32, size=(96, 128), **changes):
        mask = np.zeros(size, np.uint8)
        x0, y0, x1, y1 = box
        mask[y0:y1, x0:x1] = 1
        rle = {"size": list(size), "counts": mask_to_rle(mask).counts}
        blank = {"score": None, "quality": None, "stability": None}
        return {"uid": uid, "class": "red", "origin": "hand", "rle": rle, **blank, **changes}

    return make
