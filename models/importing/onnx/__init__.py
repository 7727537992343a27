"""ONNX files: checked, measured, and imported."""
