"""Channels-last twins of ONNX's spatial operators: domain FUSED, attribute ``layout="NHWC"``."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, ONNX, Shape, TensorType
from edgeinfer.ops.registry import Inference, find_operator, operator
from edgeinfer.records import altered


def from_channels_last(x: np.ndarray) -> np.ndarray:
    """[N, …, C] to [N, C, …]."""
    return np.moveaxis(x, -1, 1)


def to_channels_last(x: np.ndarray) -> np.ndarray:
    """[N, C, …] to [N, …, C]."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def _first(shape: Shape | None) -> Shape | None:
    return None if shape is None else (shape[0], shape[-1], *shape[1:-1])


def _last(shape: Shape | None) -> Shape | None:
    return None if shape is None else (shape[0], *shape[2:], shape[1])


def register_channels_last(name: str) -> None:
    """Register the twin of an ONNX operator whose first input and first output are pictures."""
    original = find_operator((ONNX, name))
    assert original is not None, name

    def infer(inference: Inference) -> list[TensorType]:
        if inference.attribute("layout", "NCHW") != "NHWC":
            return list(original.infer(inference))
        types = list(inference.inputs)
        types[0] = TensorType(inference.dtype(0), _first(inference.shape(0)))
        result = list(original.infer(altered(inference, inputs=types)))
        return [TensorType(result[0].dtype, _last(result[0].shape)), *result[1:]]

    def reference(*inputs: np.ndarray, layout: str = "NCHW", **others: object) -> object:
        if layout != "NHWC":
            return original.reference(*inputs, **others)
        result = original.reference(from_channels_last(inputs[0]), *inputs[1:], **others)
        if isinstance(result, tuple):
            return (to_channels_last(result[0]), *result[1:])
        return to_channels_last(result)

    attributes = {*original.attributes, "layout"}
    operator(name, infer, FUSED, attributes)(reference)
