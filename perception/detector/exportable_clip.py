"""CLIP's two towers as graphs take them: texts of any length, pictures of one size.

The weights are those of transformers' networks, OWLv2's and OmDet-Turbo's alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

QUERIES_AT_ONCE = 512
"""Of the thousands of cells that look at one another; all of a picture's scores are gigabytes."""


class ExportableClipText(nn.Module):
    """ids N x L -> tokens N x L x D, each of which has seen those before it.

    model: transformers' ``CLIPTextModel``, or OWLv2's own text model, which is the same.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = getattr(model, "text_model", model)

    def forward(self, ids: Tensor) -> Tensor:
        embeddings, places = self.model.embeddings, torch.arange(ids.shape[1])
        x = embeddings.token_embedding(ids) + embeddings.position_embedding(places)
        unseen = (places > places[:, None]) * torch.finfo(x.dtype).min
        for layer in self.model.encoder.layers:
            x = _layer(layer, x, unseen)
        return self.model.final_layer_norm(x)  # type: ignore[no-any-return]


class ExportableClipImage(nn.Module):
    """pixels 1 x 3 x S x S -> what the picture says as a whole and its patches, 1 + Q x D.

    model: OWLv2's vision model; S is what it was made for.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        embeddings = self.model.embeddings
        patches = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        x = torch.cat((embeddings.class_embedding[None, None], patches), 1)
        x = self.model.pre_layernorm(x + embeddings.position_embedding.weight)
        for layer in self.model.encoder.layers:
            x = _layer(layer, x)
        return self.model.post_layernorm(x)[0]  # type: ignore[no-any-return]


def at_the_end(tokens: Tensor, ids: Tensor) -> Tensor:
    """Tokens N x L x D where the text ends, N x D: the end has the highest id."""
    end = ids.int().argmax(-1)  # The runtime doesn't compare 64 bits.
    return tokens.gather(1, end[:, None, None].expand(-1, 1, tokens.shape[-1]))[:, 0]


def _layer(layer: Any, x: Tensor, unseen: Tensor | None = None) -> Tensor:
    """N x L x D -> N x L x D; unseen: L x L, added to the scores."""
    x = x + _attend(layer.self_attn, layer.layer_norm1(x), unseen)
    return x + layer.mlp(layer.layer_norm2(x))  # type: ignore[no-any-return]


def _attend(attention: Any, x: Tensor, unseen: Tensor | None) -> Tensor:
    q, k, v = (
        project(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    keys = k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if unseen is not None:
        seen = (q @ keys + unseen).softmax(-1) @ v
    else:
        parts = [(part @ keys).softmax(-1) @ v for part in q.split(QUERIES_AT_ONCE, dim=2)]
        seen = torch.cat(parts, 2)
    return attention.out_proj(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
