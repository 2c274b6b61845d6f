"""Converters from the formats of other frameworks: each folder turns one format into a graph."""

from __future__ import annotations

from typing import Any

from edgeinfer.graph import Graph
from edgeinfer.passes import DEFAULT_PASSES, PassReport, StoreWeightsAsFloat16, run_passes

__all__ = ["convert"]


def convert(model: Any, *, float16: bool = False, check: bool = False) -> tuple[Graph, PassReport]:
    """Convert an ONNX model to an optimised graph.

    Args:
        model: path of an ``.onnx`` file, or an ``onnx.ModelProto``.
        float16: store large weights as float16; computation stays in float32.
        check: verify the graph after each pass.

    Returns:
        The graph, and a report of what was fused, and why other fusions did not apply.

    Raises:
        ConversionError: if this is no ONNX model, is damaged, or is too old.
        UnsupportedOperatorError: listing every operator and attribute that edgeinfer does not know.
    """
    # `import converters` works without onnx.
    from converters.onnx import import_model

    passes = [*DEFAULT_PASSES, StoreWeightsAsFloat16()] if float16 else DEFAULT_PASSES
    return run_passes(import_model(model), passes, check)
