"""The second half of a network that torch runs: prompts to masks, see ``decoding``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from perception.segmenter.decoding import rows_per_call
from perception.segmenter.prompts import PromptRows
from perception.types import Embedding, FloatArray, IntArray


class DecodingNetwork(Protocol):
    """What decodes. embedding_shape: C, h, w; mask_size: side of its logits."""

    @property
    def embedding_shape(self) -> tuple[int, int, int]: ...

    @property
    def mask_size(self) -> int: ...

    def decode_good(
        self,
        image: Any,
        coords: Tensor,
        labels: Tensor,
        least_quality: Tensor,
        earlier: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """P prompts on a prepared image -> logits N x h x w, which they are, N, quality P x 4."""
        ...


class TorchDecoder:
    """A ``Decoder`` over a network on ``device``.

    prepare: the levels of an embedding's features, 1 x C x h x w each -> what all prompts share;
    prepared: its type, by which an embedding's own is known. model: whose embeddings it reads.
    """

    def __init__(
        self,
        network: DecodingNetwork,
        prepare: Callable[[tuple[Tensor, ...]], Any],
        prepared: type,
        *,
        model: str,
        device: str,
    ) -> None:
        self.model, self.device = model, torch.device(device)
        self.mask_size = network.mask_size
        self.rows_per_call = rows_per_call(network.embedding_shape, gpu=self.device.type != "cpu")
        self._network, self._prepare, self._prepared = network, prepare, prepared

    @torch.inference_mode()
    def prepare(self, embedding: Embedding) -> Any:
        """What all prompts on a picture share."""
        if isinstance(embedding.prepared, self._prepared):
            return embedding.prepared
        features = embedding.features
        levels = features if isinstance(features, tuple) else (features,)
        return self._prepare(tuple(self._tensor(level)[None] for level in levels))

    @torch.inference_mode()
    def run(
        self, image: Any, rows: PromptRows, least_quality: FloatArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        """P rows on one prepared image -> the masks that are good enough; see ``Decoder``."""
        masks = rows.mask_logits
        logits, which, quality = self._network.decode_good(
            image,
            self._tensor(rows.coords),
            self._tensor(rows.labels),
            self._tensor(least_quality),
            None if masks is None else self._tensor(masks)[:, None],
        )
        return logits.float().cpu().numpy(), which.cpu().numpy(), quality.float().cpu().numpy()

    def _tensor(self, array: FloatArray | IntArray) -> Tensor:
        return torch.from_numpy(array).to(self.device)
