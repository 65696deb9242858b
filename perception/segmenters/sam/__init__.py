"""Segment Anything: SAM's network, ONNX runtime and export."""
