"""Taking weights out of a model, and putting random ones in."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

# Larger float initializers are weights: they are taken out. Smaller ones may be constants of the graph.
KEPT_ELEMENTS = 8
PLACEHOLDER = "random weights"


def strip_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every large float initializer reduced to its name and shape, and without traces of the source."""
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    for tensor in stripped.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > KEPT_ELEMENTS:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
            tensor.doc_string = PLACEHOLDER
    for node in stripped.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    for value in [*stripped.graph.value_info, *stripped.graph.input, *stripped.graph.output]:
        value.ClearField("metadata_props")
    for tensor in stripped.graph.initializer:
        tensor.ClearField("metadata_props")
    stripped.graph.ClearField("value_info")
    stripped.graph.ClearField("metadata_props")
    stripped.ClearField("metadata_props")
    return stripped


def fill_weights(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Fill the placeholders with seeded random numbers that keep activations in a sensible range.

    Kernels get He's variance 2 / fan-in, variances 0.5..1.5, other scales 0.75..1.25, biases and means small numbers.
    """
    generator = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if tensor.doc_string == PLACEHOLDER:
            array = _random(tensor.name, tuple(tensor.dims), generator)
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    return model


def _random(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    if len(shape) > 1:
        fan_in = np.prod(shape[1:])
        return (generator.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
    if "var" in name:
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    if "weight" in name or "scale" in name:
        return generator.uniform(0.75, 1.25, shape).astype(np.float32)
    return (generator.standard_normal(shape) * 0.1).astype(np.float32)
