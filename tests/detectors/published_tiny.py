"""Tiny published detectors with random weights, saved as transformers saves the real ones."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import unicodedata
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    DetrImageProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    OmDetTurboConfig,
    OmDetTurboForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    PreTrainedModel,
)

from perception.types import ImageArray

QUERIES = 20
TEXT_LIMIT = 32
"""Tokens in a text, where a test wants several texts of few phrases."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("a", "blue", "car", "cat", "detect", "dog", "dr", "of", "pepper", "photo", "red")


def bert_words() -> list[str]:
    """A vocabulary with letters, so that every plain word can be written."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "-", "'", "(", ")", "_", "/"]
    digits = list("0123456789")
    inner = [f"##{letter}" for letter in [*LETTERS, *digits, "pet", "s"]]
    return list(dict.fromkeys([*marks, *WORDS, *LETTERS, *digits, *inner]))


def swin(**numbers: Any) -> dict[str, Any]:
    return {
        "model_type": "swin",
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "out_indices": [2, 3, 4],
        **numbers,
    }


GROUNDING = {
    "backbone_config": swin(),
    "text_config": {
        "model_type": "bert",
        "vocab_size": len(bert_words()),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    },
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_queries": QUERIES,
    "max_text_len": 256,
}

CLIP_TEXT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def build(family: str, **settings: Any) -> PreTrainedModel:
    """A network with noise in every weight, so that no fault hides behind a zero.

    settings: of OmDet-Turbo's configuration, beyond the usual.
    """
    torch.manual_seed(0)
    network: PreTrainedModel
    if family == "grounding-dino":
        network = GroundingDinoForObjectDetection(GroundingDinoConfig(**GROUNDING))
    elif family == "mm-grounding-dino":
        network = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**GROUNDING))
    elif family == "owlv2":
        network = Owlv2ForObjectDetection(_owlv2_config())
    else:
        network = OmDetTurboForObjectDetection(_omdet_config(**settings))
    for name, module in network.named_modules():
        if "head" in name or "bbox" in name or "class" in name:
            _add_noise(module)
    return network.eval()


@cache
def saved(family: str) -> Path:
    """The folder of a tiny detector; made once a run, not to be changed."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    build(family).save_pretrained(folder)
    if family == "owlv2":
        clip_tokenizer().save_pretrained(folder)
        Owlv2ImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    elif family == "omdet-turbo":
        clip_tokenizer().save_pretrained(folder)
        size = {"height": 64, "width": 64}
        DetrImageProcessor(size=size, do_pad=False).save_pretrained(folder)
    else:
        (folder / "vocab.txt").write_text("\n".join(bert_words()) + "\n", "utf-8")
        BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
        size = {"shortest_edge": 64, "longest_edge": 107}
        GroundingDinoImageProcessor(size=size).save_pretrained(folder)
    return folder


def clip_tokenizer() -> CLIPTokenizer:
    """Byte pairs like CLIP's: letters, letters at a word's end, and a few words merged."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = []
    for word in WORDS:
        left = word[0]
        for place, letter in enumerate(word[1:], start=2):
            right = f"{letter}</w>" if place == len(word) else letter
            merges.append((left, right))
            left += right
            pieces.append(left)
    pieces = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)))


def pictures(*sizes: tuple[int, int], seed: int = 0) -> list[ImageArray]:
    """Noise of these (height, width), coarse, so that resizing leaves some of it."""
    numbers = np.random.default_rng(seed)
    made = []
    for height, width in sizes:
        coarse = numbers.integers(0, 255, (-(-height // 8), -(-width // 8), 3), np.uint8)
        made.append(coarse.repeat(8, 0).repeat(8, 1)[:height, :width].copy())
    return made


def letter_names(count: int) -> list[str]:
    """As many phrases of three letters."""
    return ["".join(f"{letter} " for letter in name) for name in product(LETTERS, repeat=3)][:count]


def unicode_names(count: int) -> list[str]:
    """As many different phrases, of one to nine words each."""
    names = (unicodedata.name(chr(code), "") for code in range(0x21, 0x20000))
    plain = dict.fromkeys(name.lower() for name in names if name.replace(" ", "").isalpha())
    return list(plain)[:count]


def lvis_names(count: int) -> list[str]:
    """The classes of LVIS, in their order, where the shared images are at hand."""
    path = Path(__file__).parents[3] / "shared/data/names/lvis_v1_cat_info_synonyms_defs.json"
    if not path.is_file():
        pytest.skip(f"needs {path.name} of the shared images")
    return [entry["name"] for entry in json.loads(path.read_text("utf-8"))][:count]


def _owlv2_config() -> Owlv2Config:
    marks = len(clip_tokenizer())
    return Owlv2Config(
        text_config={
            **CLIP_TEXT,
            "vocab_size": marks,
            "max_position_embeddings": 16,
            "bos_token_id": marks - 2,
            "eos_token_id": marks - 1,
        },
        vision_config={**CLIP_TEXT, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )


def _omdet_config(**settings: Any) -> OmDetTurboConfig:
    marks = len(clip_tokenizer())
    return OmDetTurboConfig(
        backbone_config=swin(image_size=64),
        text_config={
            "model_type": "clip_text_model",
            **CLIP_TEXT,
            "vocab_size": marks,
            "max_position_embeddings": TEXT_LIMIT,
            "bos_token_id": marks - 2,
            "eos_token_id": marks - 1,
        },
        apply_layernorm_after_vision_backbone=False,
        image_size=64,
        text_projection_in_dim=16,
        text_projection_out_dim=16,
        class_embed_dim=16,
        task_encoder_hidden_dim=16,
        encoder_in_channels=[32, 64, 128],
        vision_features_channels=[32, 32, 32],
        encoder_hidden_dim=32,
        encoder_attention_heads=2,
        encoder_dim_feedforward=32,
        decoder_hidden_dim=32,
        decoder_num_heads=2,
        decoder_num_layers=2,
        decoder_dim_feedforward=32,
        num_queries=QUERIES,
        **settings,
    )


def _add_noise(module: nn.Module) -> None:
    with torch.no_grad():
        for weight in module.parameters(recurse=False):
            weight += 0.2 * torch.randn(weight.shape)
