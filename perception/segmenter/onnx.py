"""A segmenter that ONNX Runtime runs; needs no torch.

Three files. The encoder takes ``pixels`` 1 x 3 x S x S (normalised) and gives ``embedding``
1 x C x h x w. The preparer makes of an embedding, once, what all prompts on the picture share:

==============  =======================  =====================================================
``embedding``   1 x C x h x w float32
``mask_input``  1 x 1 x 4h x 4w float32  earlier logits, which become part of the picture
``has_mask``    1 float32                1 where they count, else 0
==============  =======================  =====================================================

It gives some twenty tensors (``perception.segmenter.prepared_image``), which the decoder takes by
the same names beside

=================  =================  ========================================================
``coords``         P x K x 2 float32  (x, y) in pixels of the model's input
``labels``         P x K float32      -1 padding, 0 out, 1 in, 2 and 3 the corners of a box
``least_quality``  4 float32          of each mask; those below it are not made
=================  =================  ========================================================

and gives ``logits`` N x 4h x 4w, ``masks`` N (which they are, as 4 * prompt + mask) and
``quality`` P x 4. All inputs are floats, because a web page has these at hand. Every file carries
``SegmenterMetadata``.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.errors import WeightsError
from perception.frame import fit_picture
from perception.onnx_session import device_of, open_session
from perception.segmenter.decoding import decode_prompt, propose_masks, rows_per_call
from perception.segmenter.onnx_metadata import DECODER, ENCODER, PREPARER, SegmenterMetadata
from perception.segmenter.prompts import PromptRows
from perception.types import (
    Embedding,
    FloatArray,
    ImageArray,
    IntArray,
    MaskCandidates,
    Prompt,
    Proposals,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue


class OnnxSegmenter:
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
        self.metadata = _metadata(self._encoder, ENCODER, encoder_path)
        for session, part, path in (
            (preparer, PREPARER, preparer_path),
            (decoder, DECODER, decoder_path),
        ):
            other = _metadata(session, part, path)
            if other != self.metadata:
                raise WeightsError(
                    f"{encoder_path} and {path} are of two models: {self.metadata} and {other}"
                )
        self.name = self.metadata.name
        self._decoder = _Decoder(preparer, decoder, self.metadata)

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding with features C x h x w, float32."""
        frame, pixels = fit_picture(image, self.metadata.side)
        (features,) = self._encoder.run(["embedding"], {"pixels": pixels})
        embedding = Embedding(features[0], frame, self._decoder.model)
        return replace(embedding, prepared=self._decoder.prepare(embedding))

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return decode_prompt(self._decoder, embedding, prompt)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """The good candidates of each of N lone points; see ``Segmenter``."""
        return propose_masks(self._decoder, embedding, points, least_quality)


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

    def prepare(self, embedding: Embedding, earlier: FloatArray | None = None) -> _Prepared:
        if earlier is None and isinstance(embedding.prepared, _Prepared):
            return embedding.prepared
        size = self.mask_size
        inputs = {
            "embedding": np.asarray(embedding.features, np.float32)[None],
            "mask_input": np.zeros((1, 1, size, size), np.float32)
            if earlier is None
            else earlier[None, None],
            "has_mask": np.full(1, earlier is not None, np.float32),
        }
        return _Prepared(_run(self._preparer, inputs, self._prepared, self._device))

    def run(
        self, image: _Prepared, rows: PromptRows, least_quality: FloatArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        inputs: dict[str, Any] = {
            **dict(zip(self._prepared, image, strict=True)),
            "coords": rows.coords,
            "labels": rows.labels.astype(np.float32),
            "least_quality": least_quality,
        }
        outputs = _run(self._decoder, inputs, ("logits", "masks", "quality"), "cpu")
        logits, masks, quality = (value.numpy() for value in outputs)
        return logits, masks, quality


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


def _metadata(session: InferenceSession, part: str, path: str | Path) -> SegmenterMetadata:
    values = session.get_modelmeta().custom_metadata_map
    return SegmenterMetadata.from_map(values, part, path=str(path))
