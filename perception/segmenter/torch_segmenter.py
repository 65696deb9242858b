"""The SAM network as a segmenter, run by torch."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor

from perception.frame import fit_picture
from perception.segmenter.decoding import decode_prompt, propose_masks, rows_per_call
from perception.segmenter.prepared_image import PreparedImage
from perception.segmenter.prompts import PromptRows
from perception.segmenter.sam import Sam
from perception.types import (
    Embedding,
    FloatArray,
    ImageArray,
    IntArray,
    MaskCandidates,
    Prompt,
    Proposals,
)


class TorchSegmenter:
    """A ``Segmenter`` over a ``Sam`` network.

    sam: the network with its weights; it is put into evaluation mode and moved to ``device``.
    name: the model; version: of its weights. Two segmenters with the same name and version read
    each other's embeddings, also across runtimes.
    """

    def __init__(self, sam: Sam, *, name: str, version: str = "", device: str = "cpu") -> None:
        self.name = name
        self._sam = sam.eval().to(device)
        self._decoder = _Decoder(self._sam, f"{name} {version}".rstrip(), torch.device(device))

    @torch.inference_mode()
    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding with features C x h x w, float32."""
        frame, pixels = fit_picture(image, self._sam.side)
        features = self._sam.encode(torch.from_numpy(pixels).to(self._decoder.device)).float()
        prepared = self._sam.prepare(features)
        return Embedding(features[0].cpu().numpy(), frame, self._decoder.model, prepared)

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return decode_prompt(self._decoder, embedding, prompt)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """The good candidates of each of N lone points; see ``Segmenter``."""
        return propose_masks(self._decoder, embedding, points, least_quality)


class _Decoder:
    def __init__(self, sam: Sam, model: str, device: torch.device) -> None:
        self.sam, self.model, self.device = sam, model, device
        self.mask_size = sam.mask_size
        self.rows_per_call = rows_per_call(sam.embedding_shape, gpu=device.type != "cpu")

    @torch.inference_mode()
    def prepare(self, embedding: Embedding, earlier: FloatArray | None = None) -> PreparedImage:
        if earlier is None and isinstance(embedding.prepared, PreparedImage):
            return embedding.prepared
        mask = None if earlier is None else self._tensor(earlier)[None, None]
        features = self._tensor(embedding.features)[None]
        # An earlier mask is of one prompt.
        return self.sam.prepare(features, mask, factored=earlier is None)

    @torch.inference_mode()
    def run(
        self, image: PreparedImage, rows: PromptRows, least_quality: FloatArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        logits, which, quality = self.sam.decode_good(
            image, self._tensor(rows.coords), self._tensor(rows.labels), self._tensor(least_quality)
        )
        return logits.float().cpu().numpy(), which.cpu().numpy(), quality.float().cpu().numpy()

    def _tensor(self, array: FloatArray | IntArray) -> Tensor:
        return torch.from_numpy(array).to(self.device)
