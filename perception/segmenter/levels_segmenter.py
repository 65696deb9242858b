"""Networks with several levels of features as segmenters, run by torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import torch

from perception.frame import fit_picture
from perception.segmenter.decoding import decode_prompt, propose_masks
from perception.segmenter.levels_network import LevelsNetwork, PreparedLevels
from perception.segmenter.torch_decoder import TorchDecoder
from perception.segmenter.torch_segmenter import PRECISIONS
from perception.types import (
    Embedding,
    FloatArray,
    ImageArray,
    MaskCandidates,
    Prompt,
    Proposals,
)


class LevelsSegmenter:
    """A ``Segmenter`` over a ``LevelsNetwork`` in float32, which is moved to ``device``.

    An embedding's features are a tuple: the embedding C x h x w, then the finer levels.
    precision: of the image encoder's products, "fp32", "bf16" or "fp16"; its weights, and the
    decoder, stay in float32. name, version: as in ``TorchSegmenter``.
    """

    def __init__(
        self,
        network: LevelsNetwork,
        *,
        name: str,
        version: str = "",
        device: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
        self.name = name
        self.side = network.side
        self._network = network
        self._dtype = PRECISIONS[precision]
        self._decoder = TorchDecoder(
            network,
            network.prepare,
            PreparedLevels,
            model=f"{name} {version}".rstrip(),
            device=device,
        )

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding, its features a tuple of float32 arrays."""
        (embedding,) = self.encode_batch([image])
        return embedding

    @torch.inference_mode()
    def encode_batch(self, images: Sequence[ImageArray]) -> list[Embedding]:
        """Pictures of any sizes, in one call of the network; otherwise as ``encode`` of each."""
        if not images:
            return []
        network, device = self._network, self._decoder.device
        fitted = [
            fit_picture(
                image,
                network.side,
                stretched=network.stretched,
                mean=network.mean,
                std=network.std,
            )
            for image in images
        ]
        pixels = torch.from_numpy(np.concatenate([one for _, one in fitted])).to(device)
        is_lower = self._dtype is not torch.float32
        with torch.autocast(device.type, self._dtype, enabled=is_lower):
            features = network.vision(pixels)
        levels = network.levels(tuple(level.float() for level in features))
        embeddings = []
        for n, (frame, _) in enumerate(fitted):
            own = tuple(level[n : n + 1].clone() for level in levels)
            prepared = network.prepare(own)
            arrays = tuple(level[0].cpu().numpy() for level in own)
            embeddings.append(Embedding(arrays, frame, self._decoder.model, prepared))
        return embeddings

    def decode(self, embedding: Embedding, prompt: Prompt) -> MaskCandidates:
        """Four masks with predicted quality for each of the N prompts; see ``Segmenter``."""
        return decode_prompt(self._decoder, embedding, prompt)

    def propose(
        self, embedding: Embedding, points: FloatArray, *, least_quality: float = -inf
    ) -> Proposals:
        """The good candidates of each of N lone points; see ``Segmenter``."""
        return propose_masks(self._decoder, embedding, points, least_quality)
