"""The ONNX importer."""
