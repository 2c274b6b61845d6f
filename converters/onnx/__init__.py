"""The ONNX importer."""

from converters.onnx.importer import import_model

__all__ = ["import_model"]
