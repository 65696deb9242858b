"""SAM's network as a segmenter run by torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from perception.imaging.preprocess import Frame, fit_picture
from perception.segmenters.decoding import DecodesPrompts, PromptRows, rows_per_call
from perception.segmenters.sam.cells import PreparedImage
from perception.segmenters.sam.network import Sam
from perception.types import (
    Embedding,
    FloatArray,
    ImageArray,
    IntArray,
)

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchSegmenter(DecodesPrompts):
    """A ``Segmenter`` over a ``Sam`` network.

    sam: the network with its weights; it is put into evaluation mode, moved to ``device``, and its
    image encoder to ``precision``: "fp32", "bf16" or "fp16". The decoder stays in fp32: it is
    small, and edges are decided there. compiled: let torch.compile fuse the image encoder, on a GPU
    into CUDA graphs; the first image then takes a minute or more.
    name: the model; version: of its weights. Two segmenters with the same name and version read
    each other's embeddings, also across runtimes.
    """

    def __init__(
        self,
        sam: Sam,
        *,
        name: str,
        version: str = "",
        device: str = "cpu",
        precision: str = "fp32",
        compiled: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
        self.name, self.version = name, version
        self._sam = sam.eval().to(device)
        self._dtype = PRECISIONS[precision]
        self._encoder: Callable[[Tensor], Tensor] = self._sam.image_encoder.to(self._dtype)
        self._decoder: TorchDecoder = TorchDecoder(
            self._sam,
            lambda levels: sam.prepare(levels[0]),
            PreparedImage,
            model=f"{name} {version}".rstrip(),
            device=device,
        )
        if compiled:
            is_gpu = self._decoder.device.type == "cuda"
            mode = "max-autotune" if is_gpu else "default"
            self._encoder = torch.compile(self._encoder, fullgraph=True, mode=mode)

    def encode(self, image: ImageArray) -> Embedding:
        """RGB uint8 H x W x 3 -> embedding with features C x h x w, float32."""
        (embedding,) = self.encode_batch([image])
        return embedding

    @torch.inference_mode()
    def encode_batch(self, images: Sequence[ImageArray]) -> list[Embedding]:
        """Pictures of any sizes, in one call of the network; otherwise as ``encode`` of each."""
        if not images:
            return []
        frames, pixels = zip(*(fit_picture(image, self._sam.side) for image in images), strict=True)
        batch = torch.from_numpy(np.concatenate(pixels)).to(self._decoder.device, self._dtype)
        features = self._encoder(batch).float()  # B x C x h x w
        return [
            Embedding(
                one.cpu().numpy(), frame, self._decoder.model, self._sam.prepare(one[None].clone())
            )
            for one, frame in zip(features, frames, strict=True)
        ]

    @property
    def side(self) -> int:
        """Of the square input, in pixels."""
        return self._sam.side

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """C, h, w of an embedding's features."""
        return self._sam.embedding_shape

    def restore(self, features: FloatArray, image_hw: tuple[int, int]) -> Embedding:
        """The embedding of an image of (H, W) whose features C x h x w were kept somewhere."""
        embedding = Embedding(features, Frame(image_hw, self.side), self._decoder.model)
        return replace(embedding, prepared=self._decoder.prepare(embedding))


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
        """What all prompts on an image share."""
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
