"""Boxes from phrases: the Protocol, the nano network and its ONNX runtime."""
