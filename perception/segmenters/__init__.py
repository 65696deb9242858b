"""Segmenters: the Protocol, and each model family: network, ONNX runtime, export."""
