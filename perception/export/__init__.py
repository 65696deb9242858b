"""Networks as ONNX files, each written only if it gives what torch gives."""
