"""Converters from the formats of other frameworks: each folder turns one format into a graph."""

from __future__ import annotations

from typing import Any, Literal, get_args

from edgeinfer.errors import ConversionError
from edgeinfer.graph import Graph
from edgeinfer.passes import (
    DEFAULT_PASSES,
    Pass,
    PassReport,
    StoreWeightsAsFloat16,
    StoreWeightsAsIntegers,
    run_passes,
)

__all__ = ["WEIGHT_FORMATS", "WeightFormat", "convert"]

WeightFormat = Literal["float32", "float16", "int8", "int4"]
WEIGHT_FORMATS: tuple[WeightFormat, ...] = get_args(WeightFormat)


def convert(model: Any, *, weights: WeightFormat = "float32", check: bool = False) -> tuple[Graph, PassReport]:
    """Convert an ONNX model to an optimised graph.

    Args:
        model: path of an ``.onnx`` file, or an ``onnx.ModelProto``.
        weights: how large weights are stored: float16 takes a half, int8 about a quarter, int4 about a seventh of the
            bytes of float32. Computation stays in float32.
        check: verify the graph after each pass.

    Returns:
        The graph, and a report of what was fused, and why other fusions did not apply.

    Raises:
        ConversionError: if this is no ONNX model, is damaged, or is too old; or if there is no such format of weights.
        UnsupportedOperatorError: listing every operator and attribute that edgeinfer does not know.
    """
    # `import converters` works without onnx.
    from converters.onnx import import_model

    return run_passes(import_model(model), [*DEFAULT_PASSES, *_storing(weights)], check)


def _storing(weights: WeightFormat) -> list[Pass]:
    """The passes that store weights in a format; what is no weight of an operator, but large, becomes float16."""
    if weights not in WEIGHT_FORMATS:
        raise ConversionError(f"weights cannot be stored as {weights!r}: choose one of {', '.join(WEIGHT_FORMATS)}")
    if weights in ("int8", "int4"):
        return [StoreWeightsAsIntegers(int(weights[3:])), StoreWeightsAsFloat16()]
    return [StoreWeightsAsFloat16()] if weights == "float16" else []
