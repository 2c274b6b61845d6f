"""Functions written into the model become their bodies."""

from __future__ import annotations

import onnx
import onnx.inliner

from edgeinfer.errors import ConversionError


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in which every call of a model-local function is replaced by the function's body."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:
        raise ConversionError(f"the functions of the model cannot be inlined: {error}") from error
