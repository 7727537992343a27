"""Import ONNX files: check and measure them."""
