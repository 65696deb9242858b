"""Segmenters on ONNX Runtime; no torch.

Three files. The encoder takes ``pixels`` 1 x 3 x S x S (normalized) and gives ``embedding``
1 x C x h x w. The preparer makes of that, once, what all prompts on the image share: some twenty
tensors (``perception.segmenters.sam.cells``). The decoder takes these by the same names beside

=================  =======================  ==================================================
``coords``         P x K x 2 float32        (x, y) in pixels of the model's input
``labels``         P x K float32            -1 padding, 0 out, 1 in, 2, 3 the corners of a box
``least_quality``  4 float32                of each mask; those below it are not made
``earlier``        P x E x 4h x 4w float32  logits of an earlier answer (E 1), or none (E 0)
=================  =======================  ==================================================

and gives ``logits`` N x 4h x 4w, ``masks`` N (which they are, as 4 * prompt + mask) and
``quality`` P x 4. All inputs are floats, because a web page has these at hand. Every file carries
``SegmenterMetadata``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from perception.errors import WeightsError
from perception.imaging.preprocess import Frame, fit_picture
from perception.runtime.onnx_session import OnnxMetadata, device_of, open_session
from perception.segmenters.decoding import DecodesPrompts, PromptRows, rows_per_call
from perception.types import (
    Embedding,
    FloatArray,
    ImageArray,
    IntArray,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue


class OnnxSegmenter(DecodesPrompts):
    """A ``Segmenter`` over the ONNX files of an encoder, a preparer and a decoder.

    threads: of each session; 0 means all the cores that this process may use. device: "auto",
    "cpu" or "cuda[:N]". Raises WeightsError when a file is missing, damaged, of another kind or of
    another model, DeviceError for a device that isn't there.
    """

    def __init__(
        self,
        encoder_path: str | Path,
        preparer_path: str | Path,
        decoder_path: str | Path,
        *,
        threads: int = 0,
        device: str = "auto",
    ) -> None:
        self._encoder = open_session(encoder_path, threads=threads, device=device)
        preparer = open_session(preparer_path, threads=threads, device=device)
        decoder = open_session(decoder_path, threads=threads, device=device)
        self.metadata = SegmenterMetadata.shared(
            (self._encoder, ENCODER, encoder_path),
            (preparer, PREPARER, preparer_path),
            (decoder, DECODER, decoder_path),
        )
        if all(entry.name != "earlier" for entry in decoder.get_inputs()):
            raise WeightsError(
                f"{decoder_path}: written by an older version of perception: export it again"
            )
        self.name = self.metadata.name
        self.graphs = Path(preparer_path), Path(decoder_path)
        """What a page needs to answer prompts itself."""
        self._decoder = _Decoder(preparer, decoder, self.metadata)

    @property
    def side(self) -> int:
        """Of the square input, in pixels."""
        return self.metadata.side

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """C, h, w of an embedding's features."""
        return self.metadata.embedding

    @property
    def version(self) -> str:
        """Of the weights."""
        return self.metadata.version

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding with features C x h x w, float32."""
        frame, pixels = fit_picture(image, self.metadata.side)
        (features,) = self._encoder.run(["embedding"], {"pixels": pixels})
        return self.restore(features[0], frame.image_hw)

    def restore(self, features: FloatArray, image_hw: tuple[int, int]) -> Embedding:
        """The embedding of an image of (H, W) whose features C x h x w were kept somewhere."""
        embedding = Embedding(features, Frame(image_hw, self.metadata.side), self._decoder.model)
        return replace(embedding, prepared=self._decoder.prepare(embedding))


class _Prepared(tuple["OrtValue", ...]):
    """What the preparer gives, on the device where the decoder runs."""


class _Decoder:
    def __init__(
        self, preparer: InferenceSession, decoder: InferenceSession, metadata: SegmenterMetadata
    ) -> None:
        self.model = f"{metadata.name} {metadata.version}".rstrip()
        self.mask_size = metadata.mask_size
        self._preparer, self._decoder = preparer, decoder
        self._prepared = tuple(output.name for output in preparer.get_outputs())
        self._device = device_of(decoder)
        self.rows_per_call = rows_per_call(metadata.embedding, gpu=self._device != "cpu")

    def prepare(self, embedding: Embedding) -> _Prepared:
        if isinstance(embedding.prepared, _Prepared):
            return embedding.prepared
        inputs = {"embedding": np.asarray(embedding.features, np.float32)[None]}
        return _Prepared(_run(self._preparer, inputs, self._prepared, self._device))

    def run(
        self, image: _Prepared, rows: PromptRows, least_quality: FloatArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        masks = rows.mask_logits
        inputs: dict[str, Any] = {
            **dict(zip(self._prepared, image, strict=True)),
            "coords": rows.coords,
            "labels": rows.labels.astype(np.float32),
            "least_quality": least_quality,
            "earlier": self._none(len(rows)) if masks is None else masks[:, None],
        }
        outputs = _run(self._decoder, inputs, ("logits", "masks", "quality"), "cpu")
        logits, which, quality = (value.numpy() for value in outputs)
        return logits, which, quality

    def _none(self, prompts: int) -> FloatArray:
        """No earlier mask for each of P prompts: P x 0 x 4h x 4w."""
        return np.zeros((prompts, 0, self.mask_size, self.mask_size), np.float32)


def _run(
    session: InferenceSession, inputs: dict[str, Any], outputs: tuple[str, ...], device: str
) -> list[OrtValue]:
    """Runs a session on arrays and values that may lie on its device, and leaves them there."""
    binding = session.io_binding()
    for name, value in inputs.items():
        if isinstance(value, np.ndarray):
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        else:
            binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name, device)
    session.run_with_iobinding(binding)
    values: list[OrtValue] = binding.get_outputs()
    return values


ENCODER = "segmenter-encoder"
PREPARER = "segmenter-preparer"
DECODER = "segmenter-decoder"


@dataclass(frozen=True)
class SegmenterMetadata(OnnxMetadata):
    """What the files of one segmenter say alike.

    side: of the model's square input in pixels; embedding: (C, h, w); predictor: how prompts become
    masks, "whole" or "zoom" (``perception.predictor``).
    """

    side: int
    embedding: tuple[int, int, int]
    predictor: str = "whole"

    @classmethod
    def from_map(cls, values: Mapping[str, str], part: str, *, path: str) -> Self:
        """Read what ``to_map`` wrote; see ``OnnxMetadata``."""
        # Files from before this field existed: of all that were exported, nano alone zooms.
        zooms = values.get("name", "").startswith("nano")
        older = {"predictor": "zoom" if zooms else "whole"}
        return super().from_map({**older, **values}, part, path=path)

    @property
    def mask_size(self) -> int:
        """Side of the low-resolution logits."""
        return 4 * self.embedding[1]
