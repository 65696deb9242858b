"""What runs networks: ONNX sessions, devices, adaptive batches, ONNX export."""
