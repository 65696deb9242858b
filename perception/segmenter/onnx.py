"""A segmenter that ONNX Runtime runs; needs no torch.

Two files. The encoder takes ``pixels`` 1 x 3 x S x S (normalised) and gives ``embedding``
1 x C x h x w. The decoder takes

==============  =======================  =====================================================
``embedding``   1 x C x h x w float32
``coords``      P x K x 2 float32        (x, y) in pixels of the model's input
``labels``      P x K float32            -1 padding, 0 out, 1 in, 2 and 3 the corners of a box
``mask_input``  P x 1 x 4h x 4w float32  earlier logits
``has_mask``    P float32                1 where they count, else 0
==============  =======================  =====================================================

and gives ``logits`` P x 4 x 4h x 4w and ``quality`` P x 4. All are floats, because a web page has
these at hand. Both files carry ``SegmenterMetadata``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.errors import WeightsError
from perception.frame import fit_picture
from perception.onnx_session import open_session
from perception.segmenter.decoding import decode_prompt
from perception.segmenter.onnx_metadata import DECODER, ENCODER, SegmenterMetadata
from perception.segmenter.prompts import PromptRows
from perception.types import Embedding, FloatArray, ImageArray, MaskCandidates, Prompt

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxSegmenter:
    """A ``Segmenter`` over an encoder's and a decoder's ONNX file.

    threads: of each session; 0 means all the cores that this process may use.
    Raises WeightsError when a file is missing, damaged, of another kind or of another model.
    """

    def __init__(
        self, encoder_path: str | Path, decoder_path: str | Path, *, threads: int = 0
    ) -> None:
        self._encoder = open_session(encoder_path, threads=threads)
        self._decoder = open_session(decoder_path, threads=threads)
        self.metadata = _metadata(self._encoder, ENCODER, encoder_path)
        other = _metadata(self._decoder, DECODER, decoder_path)
        if other != self.metadata:
            raise WeightsError(
                f"{encoder_path} and {decoder_path} are of two models: {self.metadata} and {other}"
            )
        self.name = self.metadata.name
        self._model = f"{self.name} {self.metadata.version}".rstrip()

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding with features C x h x w, float32."""
        frame, pixels = fit_picture(image, self.metadata.side)
        (features,) = self._encoder.run(["embedding"], {"pixels": pixels})
        return Embedding(features[0], frame, self._model)

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return decode_prompt(
            embedding, prompt, model=self._model, mask_size=self.metadata.mask_size, run=self._run
        )

    def _run(self, features: FloatArray, rows: PromptRows) -> tuple[FloatArray, FloatArray]:
        mask_input, has_mask = rows.mask_input(self.metadata.mask_size)
        inputs: dict[str, Any] = {
            "embedding": features[None],
            "coords": rows.coords,
            "labels": rows.labels.astype(np.float32),
            "mask_input": mask_input,
            "has_mask": has_mask.astype(np.float32),
        }
        logits, quality = self._decoder.run(["logits", "quality"], inputs)
        return logits, quality


def _metadata(session: InferenceSession, part: str, path: str | Path) -> SegmenterMetadata:
    values = session.get_modelmeta().custom_metadata_map
    return SegmenterMetadata.from_map(values, part, path=str(path))
