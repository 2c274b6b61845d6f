"""Calls of functions become the functions' bodies: those written into the model, and those of ONNX itself."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.inliner
from onnx import AttributeProto, defs

from converters.onnx.model_file import DEFAULT_DOMAINS
from edgeinfer.errors import ConversionError
from edgeinfer.graph import ONNX
from edgeinfer.ops import find_operator


def inline_functions(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A model in which calls of functions are replaced by the functions' bodies.

    All functions of the model itself are inlined, and those operators of ONNX that edgeinfer does not
    know but that the standard defines as functions of other operators.

    Args:
        model: the model; it is left as it is.
        opset: the version of ONNX's operators that it uses.

    Raises:
        ConversionError: if a function's body does not fit the model.
    """
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model, convert_version=True)
        unknown = {node.op_type for node in _nodes(model.graph) if _is_unknown_function(node, opset)}
        if unknown:
            chosen = [(ONNX, name) for name in sorted(unknown)]
            model = onnx.inliner.inline_selected_functions(model, chosen, inline_schema_functions=True)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(f"the functions of the model cannot be inlined: {error}") from error
    return model


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the bodies in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _is_unknown_function(node: onnx.NodeProto, opset: int) -> bool:
    """Whether ONNX defines an operator that edgeinfer does not know as a function of others."""
    if node.domain not in DEFAULT_DOMAINS or find_operator((ONNX, node.op_type)):
        return False
    if not defs.has(node.op_type, opset, ONNX):
        return False
    schema = defs.get_schema(node.op_type, opset, ONNX)
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]
