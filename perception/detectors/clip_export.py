"""Exporting CLIP's towers and tokenizer, for OWLv2 and OmDet-Turbo.

The weights are those of transformers' networks, OWLv2's and OmDet-Turbo's alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from perception.detectors.onnx_files import ClipMetadata
from perception.detectors.tokenizers import WORD_END, BytePairs
from perception.errors import ExportError, WeightsError

QUERIES_AT_ONCE = 512
"""Of the thousands of cells that look at one another; all of an image's scores are gigabytes."""


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
    """pixels 1 x 3 x S x S -> what the image says as a whole and its patches, 1 + Q x D.

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


VERSION = "1"


def clip_metadata(
    network: Any,
    processor: Any,
    vocabulary: bytes,
    *,
    name: str,
    source: str,
    side: int,
    queries: int,
) -> ClipMetadata:
    """processor: transformers'; vocabulary: what its file holds; the rest as ``ClipMetadata`` says.

    Raises ExportError for preprocessing of another make than the published.
    """
    is_square = dict(processor.size) == {"height": side, "width": side}
    if not is_square or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise ExportError(
            "only the published preprocessing can be exported: images as squares of the "
            "network's size, with values in 0..1"
        )
    red, green, blue = processor.image_mean
    red_std, green_std, blue_std = processor.image_std
    return ClipMetadata(
        name=name,
        version=VERSION,
        source=source,
        side=side,
        limit=network.config.text_config.max_position_embeddings,
        queries=queries,
        mean=(red, green, blue),
        std=(red_std, green_std, blue_std),
        vocabulary=hashlib.sha256(vocabulary).hexdigest(),
    )


ODD = (
    "",
    "a photo of a cat",
    "The  dog's\tball, isn't it? They'll've 'sled' I'd''s",
    "Dr. Pepper 1999½ ²x² №5 Ⅷ U+1F600 3.14 a_b-c/d\\e #!?",
    "naïve Ångström e\u0301 ΣΑΣ İstanbul straße ǅ ﬁ кот 猫 ねこ القط हिन्दी",
    "🙂 👩‍👩‍👧 ❤️ 🏳️‍🌈 …“quoted”—dash\u200b\u00a0\u3000",
    "<|startoftext|>a<|endoftext|>! <|pad|> [SEP] </w>",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
)
"""What tokenizers may read in different ways."""

STEP, LINE = 8, 50


def byte_pairs_content(tokenizer: Any) -> bytes:
    """The file of a tokenizer, transformers' for CLIP, as ``BytePairs.load`` reads it.

    It is tried with odd texts and with each ``STEP``-th piece of its own vocabulary. Raises
    ExportError for one of another make.
    """
    ids, merges = _tables(tokenizer)
    try:
        ours = BytePairs(ids, merges)
    except WeightsError as error:
        raise ExportError(f"the tokenizer can't be exported: {error}") from None
    texts = [*ODD, *_lines(ids)]
    theirs = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    for text, want in zip(texts, theirs, strict=True):
        if ours.encode(text) != want:
            raise ExportError(
                f"the tokenizer can't be exported: it isn't CLIP's, by how it reads {text[:40]!a}"
            )
    marks = [(one.bos_token_id, one.eos_token_id, one.unk_token_id) for one in (ours, tokenizer)]
    if marks[0] != marks[1]:
        raise ExportError("the tokenizer can't be exported: its marks aren't CLIP's")
    return json.dumps(
        {"vocab": ids, "merges": merges}, ensure_ascii=False, separators=(",", ":")
    ).encode()


def _tables(tokenizer: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Its tokens by piece, and its merges, the first ones first."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") != "BPE" or model.get("end_of_word_suffix") != WORD_END:
        raise ExportError("the tokenizer can't be exported: it isn't CLIP's, with byte pairs")
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    return model["vocab"], [(left, right) for left, right in merges]


def _lines(ids: dict[str, int]) -> Iterator[str]:
    """Pieces as words, many in a line."""
    words = [piece.removesuffix(WORD_END) for piece in list(ids)[::STEP]]
    for start in range(0, len(words), LINE):
        yield " ".join(words[start : start + LINE])
