"""Segmenters with multi-scale features (SAM 2, SAM-HQ, SAM 3), and what they share with SAM.

The weights come from a network of transformers; the numbers are those of its mask decoder, in the
order of work that ``transformer`` and ``factored_cells`` explain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from perception.checkpoints.transformers_layout import FREQUENCIES, TWIN, transformers_name
from perception.errors import WeightsError
from perception.imaging.preprocess import fit_picture
from perception.segmenters.decoding import DecodesPrompts
from perception.segmenters.sam.cells import PreparedImage
from perception.segmenters.sam.mask_decoder import row_bias, row_weights
from perception.segmenters.sam.prompt_encoder import PromptEncoder
from perception.segmenters.sam.transformer import Cells, TwoWayTransformer
from perception.segmenters.torch_segmenter import PRECISIONS, TorchDecoder
from perception.types import (
    MASKS,
    Embedding,
    ImageArray,
)


class LevelsSegmenter(DecodesPrompts):
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
        self._decoder: TorchDecoder = TorchDecoder(
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


class PreparedLevels(NamedTuple):
    """An image, prepared. levels: its finer features, 1 x rows x columns x channels each."""

    image: PreparedImage
    levels: tuple[Tensor, ...]


class Good(NamedTuple):
    """The masks of P prompts that are good enough.

    logits: N x h x w, in the order of the prompts; which: N, 4 * prompt + mask; quality: P x 4, of
    all.
    """

    logits: Tensor
    which: Tensor
    quality: Tensor


class LevelsNetwork(Protocol):
    """A network in three steps: ``vision`` and ``levels``, ``prepare``, ``decode_good``.

    side: of its square input; stretched: whether images fill it whatever their shape; mean, std:
    of red, green and blue on 0..255; embedding_shape: C, h, w; mask_size: side of its logits;
    vision: pixels B x 3 x S x S -> tensors with B rows each.
    """

    side: int
    stretched: bool
    mean: Sequence[float]
    std: Sequence[float]
    embedding_shape: tuple[int, int, int]
    mask_size: int
    vision: nn.Module

    def levels(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What ``vision`` gave, in float32 -> what decoding needs, B rows each."""
        ...

    def prepare(self, levels: tuple[Tensor, ...]) -> PreparedLevels:
        """One image's levels -> what its prompts share."""
        ...

    def decode_good(
        self,
        image: PreparedLevels,
        coords: Tensor,
        labels: Tensor,
        least_quality: Tensor,
        earlier: Tensor | None = None,
    ) -> Good:
        """P prompts, P x K x 2 and P x K -> the masks whose quality reaches least_quality (4).

        earlier: the logits of an earlier answer to each, P x 1 x h x w.
        """
        ...


def pick_good(upscale: Callable[[Tensor], Tensor], quality: Tensor, least_quality: Tensor) -> Good:
    """Upscales the prompts that have a mask whose quality, of P x 4, reaches least_quality (4).

    upscale: rows R -> logits R x 4 x h x w; asked for no rows it gives none.
    """
    good = quality >= least_quality
    rows = good.any(dim=1).nonzero()[:, 0]
    prompts, masks = good.nonzero().unbind(1)
    row_of_prompt = good.any(dim=1).long().cumsum(0) - 1
    return Good(upscale(rows)[row_of_prompt[prompts], masks], prompts * MASKS + masks, quality)


NEWER_NAMES = (
    (r"\.mlp\.lin1\.", ".mlp.proj_in."),
    (r"\.mlp\.lin2\.", ".mlp.proj_out."),
    (r"\.out_proj\.", ".o_proj."),
)
"""What transformers calls in its later networks otherwise than in ``SamModel``."""


class TwoWay(nn.Module):
    """The parts of a SAM-like network of transformers that meet every prompt.

    network: holds a ``prompt_encoder`` and a ``mask_decoder``; answers: A x C, the tokens that
    become answers; newer: whether its names are those of ``NEWER_NAMES``.
    """

    def __init__(self, network: Any, answers: Sequence[nn.Embedding], *, newer: bool) -> None:
        super().__init__()
        numbers = network.config.mask_decoder_config
        channels, encoder = numbers.hidden_size, network.prompt_encoder
        self.places = PromptEncoder(
            channels=channels,
            image_size=encoder.input_image_size,
            embedding_size=encoder.image_embedding_size[0],
            mask_channels=network.config.prompt_encoder_config.mask_input_channels,
        )
        self.transformer = TwoWayTransformer(
            depth=numbers.num_hidden_layers,
            channels=channels,
            heads=numbers.num_attention_heads,
            hidden=numbers.mlp_dim,
        )
        weights = network.state_dict()
        _fill(self.places, "prompt_encoder.", weights, newer)
        _fill(self.transformer, "mask_decoder.transformer.", weights, newer)
        decoder = network.mask_decoder
        self.answers = nn.Parameter(torch.cat([embedding.weight for embedding in answers]))
        self.first, self.second = decoder.upscale_conv1, decoder.upscale_conv2
        self.norm = decoder.upscale_layer_norm
        self.position: Tensor
        self.register_buffer("position", network.get_image_wide_positional_embeddings())

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """C, h, w of an image's embedding."""
        size = self.places.embedding_size
        return self.answers.shape[1], size, size

    def prepare(self, embedding: Tensor) -> PreparedImage:
        """An embedding 1 x C x h x w -> what all prompts share."""
        cells = (embedding + self.places.dense()).flatten(2).transpose(1, 2)
        code = self.position.flatten(2).transpose(1, 2)
        finer = tuple(row_weights(self.first))
        return self.transformer.prepare(
            cells.contiguous(), code.contiguous(), finer, self.places.mask_rows()
        )

    def look(
        self, image: PreparedImage, coords: Tensor, labels: Tensor, earlier: Tensor | None
    ) -> tuple[Tensor, Cells]:
        """P prompts, as ``Sam.look`` takes them -> the answers' tokens P x A x C, their cells."""
        sparse = self.places.sparse(coords, labels)
        tokens = torch.cat((self.answers.expand(len(sparse), -1, -1), sparse), dim=1)
        mask = None if earlier is None else self.places.earlier(earlier)
        looked: tuple[Tensor, Cells] = self.transformer(
            tokens, image, answers=len(self.answers), mask=mask
        )
        return looked

    def upscale(self, cells: Cells, finer: Tensor | None = None) -> Tensor:
        """The cells of P prompts -> P x 2h x 2w x C/4. finer: 1 x 2h x 2w x C/4, added inside."""
        bias = row_bias(self.first)
        halves = [cells.projected(w, bias, n) for n, w in enumerate(row_weights(self.first))]
        prompts, count, _ = halves[0].shape  # P x S x 2·C/4 each: the even and the odd rows
        side, channels = math.isqrt(count), self.first.out_channels
        rows = [half.reshape(prompts, side, 2 * side, channels) for half in halves]
        half = torch.stack(rows, dim=2).reshape(prompts, 2 * side, 2 * side, channels)
        half = half if finer is None else half + finer
        norm = self.norm
        normed = nn.functional.layer_norm(
            half, norm.normalized_shape, norm.weight, norm.bias, norm.eps
        )
        return nn.functional.gelu(normed)

    def upscale_again(self, half: Tensor, finer: Tensor | None = None) -> Tensor:
        """What ``upscale`` gave -> P x 4h x 4w x C/8. finer: 1 x 4h x 4w x C/8, added inside."""
        conv = self.second
        prompts, height, width, _ = half.shape
        channels = conv.out_channels
        weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # C/4 x 4·C/8: no two cells overlap
        quarters = (half @ weight + conv.bias.repeat(4)).reshape(
            prompts, height, width, 2, 2, channels
        )
        whole = quarters.transpose(2, 3).reshape(prompts, 2 * height, 2 * width, channels)
        return nn.functional.gelu(whole if finer is None else whole + finer)


def mixed(weights: Tensor, cells: Tensor) -> Tensor:
    """How M masks mix the channels, P x M x D, and cells P x h x w x D -> logits P x M x h x w."""
    prompts, height, width, _ = cells.shape
    logits = weights @ cells.flatten(1, 2).transpose(1, 2)
    return logits.reshape(prompts, weights.shape[1], height, width)


def check_numbers(config: Any, folder: object, **published: object) -> None:
    """Raises WeightsError where the mask decoder isn't built as the published one is."""
    wanted = {"attention_downsample_rate": 2, "num_multimask_outputs": MASKS - 1, **published}
    for name, value in wanted.items():
        have = getattr(config, name)
        if have != value:
            raise WeightsError(
                f"{folder}: its mask decoder has {name} = {have!r}, expected {value!r} as in the "
                "published ones"
            )


def _fill(module: nn.Module, prefix: str, weights: dict[str, Tensor], newer: bool) -> None:
    """Gives one of our modules the tensors of transformers', which has them under its own names."""
    own = {key: _tensor(prefix + key, weights, newer) for key in module.state_dict()}
    module.load_state_dict(own, strict=True)


def _tensor(key: str, weights: dict[str, Tensor], newer: bool) -> Tensor:
    """The tensor that a published SAM calls ``key``."""
    name = TWIN if key == FREQUENCIES else transformers_name(key)
    for pattern, other in NEWER_NAMES if newer else ():
        name = re.sub(pattern, other, name)
    kind = re.fullmatch(r"(prompt_encoder\.point_embed)\.(\d)\.weight", name)
    if kind and name not in weights:  # all four kinds of places as one table
        row = int(kind[2])
        return weights[f"{kind[1]}.weight"][row : row + 1]
    return weights[name]
