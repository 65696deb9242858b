"""Makes transformers' Grounding DINO networks faster, with the same answers."""

from __future__ import annotations

from typing import Any

from torch import nn

from perception.detector.cross_attention import Attention, CrossAttention
from perception.detector.deformable_attention import DeformableAttention, DeformableLayer
from perception.detector.window_attention import SwinLayer


def make_faster(network: nn.Module) -> None:
    """Replaces modules of ``GroundingDinoForObjectDetection``, or of its MM twin, by faster ones.

    They take over the loaded weights, so call it once these are where they stay: afterwards the
    network can't be saved, trained or moved. What they give differs by rounding only.
    """
    body: Any = network.model
    on_cpu = next(network.parameters()).device.type == "cpu"
    for layer in body.encoder.layers:
        layer.fusion_layer = CrossAttention(layer.fusion_layer)
        layer.text_enhancer_layer.self_attn = Attention(layer.text_enhancer_layer.self_attn)
    for layer in body.decoder.layers:
        layer.self_attn = Attention(layer.self_attn)
        layer.encoder_attn_text = Attention(layer.encoder_attn_text)
    if on_cpu:
        _make_faster_on_cpu(body)


def _make_faster_on_cpu(body: Any) -> None:
    backbone = body.backbone.conv_encoder.model
    if backbone.config.model_type == "swin" and backbone.config.hidden_act == "gelu":
        for stage in backbone.swin.encoder.layers:
            stage.blocks = nn.ModuleList(map(SwinLayer, stage.blocks))
    for layer in body.encoder.layers:
        if body.config.activation_function == "relu":
            layer.deformable_layer = DeformableLayer(layer.deformable_layer)
        else:
            layer.deformable_layer.self_attn = DeformableAttention(layer.deformable_layer.self_attn)
    for layer in body.decoder.layers:
        layer.encoder_attn = DeformableAttention(layer.encoder_attn)
