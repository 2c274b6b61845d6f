"""From an ONNX model to a graph: parsing, upgrading to one opset, checking that every operator is known."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import AttributeProto, helper

from converters.onnx import (
    upgrade_activation,
    upgrade_broadcast,
    upgrade_normalization,
    upgrade_quantized,
    upgrade_reduce,
    upgrade_resize,
    upgrade_scan,
    upgrade_shape,
)
from converters.onnx.functions import inline_functions
from converters.onnx.model_file import DEFAULT_DOMAINS, check_model, model_opset, read_model
from converters.onnx.scope import NameMaker, Scope
from converters.onnx.support import drop_default_attributes, unsupported
from converters.onnx.tensors import TypeReader, sparse_to_array, to_array
from converters.onnx.upgrade import CannotUpgradeError, upgrade_node
from edgeinfer.errors import ConversionError, GraphError, UnsupportedOperatorError
from edgeinfer.graph import ONNX, DType, Graph, Node, TensorType, verify

# Importing these modules registers their upgrades.
UPGRADE_FAMILIES = (
    upgrade_activation,
    upgrade_broadcast,
    upgrade_normalization,
    upgrade_quantized,
    upgrade_reduce,
    upgrade_resize,
    upgrade_scan,
    upgrade_shape,
)


def import_model(model: str | Path | onnx.ModelProto) -> Graph:
    """Read an ONNX model as a graph.

    Args:
        model: path of an ``.onnx`` file, or a model in memory (it is left as it is).

    Returns:
        The graph: all operators in their newest form, Constant nodes and initializers as constants,
        functions inlined, symbolic dimensions by their names.

    Raises:
        ConversionError: if this is no ONNX model, is damaged or incomplete, or is too old or too new.
        UnsupportedOperatorError: listing every operator and attribute that edgeinfer does not know.
    """
    folder = None
    where = "the model"
    if not isinstance(model, onnx.ModelProto):
        path = Path(model)
        folder, where = path.parent, str(path)
        model = read_model(path)
    check_model(model, where)
    opset = model_opset(model)
    model = inline_functions(model, opset)
    importer = _Importer(model, opset, folder)
    graph = importer.graph(model.graph, None)
    graph.name = graph.name or "model"
    graph.metadata = _metadata(model, opset)
    problems = importer.problems + unsupported(graph, opset)
    if problems:
        raise UnsupportedOperatorError(problems)
    try:
        verify(graph)
    except GraphError as error:
        raise ConversionError(f"{where} is not a valid ONNX model: {error}") from error
    return graph


def _metadata(model: onnx.ModelProto, opset: int) -> dict[str, str]:
    """What the model says of itself; entries of its own come first."""
    known = {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "description": model.doc_string,
        "domain": model.domain,
        "model_version": str(model.model_version or ""),
        "onnx_opset": str(opset),
    }
    return {key: text for key, text in known.items() if text} | {
        entry.key: entry.value for entry in model.metadata_props
    }


class _Importer:
    """Turns the graphs of one model into ours; remembers names and problems.

    Attributes:
        problems: what cannot be expressed in the newest opset, one line each.
    """

    def __init__(self, model: onnx.ModelProto, opset: int, folder: Path | None) -> None:
        self.problems: list[str] = []
        self._model = model
        self._opset = opset
        self._folder = folder
        self._types = TypeReader()
        self._node_names = NameMaker(set())
        self._value_names = NameMaker(set(_value_names(model.graph)))

    def graph(self, proto: onnx.GraphProto, outer: Scope | None) -> Graph:
        """One graph of the model; ``outer`` is the scope of the graph around it, if it is a body."""
        graph = Graph(proto.name)
        scope = Scope(graph, self._value_names, self._inferred_types, outer)
        for tensor in proto.initializer:
            scope.set_constant(tensor.name, *to_array(tensor, self._folder))
        for sparse in proto.sparse_initializer:
            scope.set_constant(sparse.values.name, *sparse_to_array(sparse, self._folder))
        for value in proto.input:
            if value.name not in graph.constants:
                graph.inputs.append(value.name)
                graph.types[value.name] = self._input_type(value, outer)
        for value in [*proto.value_info, *proto.output]:
            value_type = self._types.read(value)
            if value_type is not None:
                graph.types.setdefault(value.name, value_type)
        for node in proto.node:
            self._add_node(scope, node)
        graph.outputs = [value.name for value in proto.output]
        return graph

    def _input_type(self, value: onnx.ValueInfoProto, outer: Scope | None) -> TensorType:
        found = self._types.read(value)
        if found is None and outer is not None:
            # Inputs of bodies need not say their type.
            found = self._inferred_types().get(value.name, TensorType(DType.FLOAT32, None))
        if found is None:
            raise ConversionError(f"input '{value.name}' of the model does not say its element type")
        return found

    def _add_node(self, scope: Scope, proto: onnx.NodeProto) -> None:
        domain = ONNX if proto.domain in DEFAULT_DOMAINS else proto.domain
        if proto.op_type == "Constant" and domain == ONNX:
            scope.set_constant(proto.output[0], *self._constant(proto))
            return
        name = self._node_names.fresh(proto.name or f"{proto.op_type}_{next(filter(None, proto.output), '')}")
        attributes = {item.name: self._attribute(item, name, scope) for item in proto.attribute}
        node = Node(proto.op_type, _trimmed(proto.input), _trimmed(proto.output), attributes, name, domain)
        try:
            nodes = upgrade_node(scope, node, self._opset)
        except CannotUpgradeError as reason:
            self.problems.append(f"operator {node.op} (opset {self._opset}): node '{name}': {reason}")
            return
        for new in nodes:
            drop_default_attributes(new, self._opset)
        scope.graph.nodes += nodes

    def _constant(self, proto: onnx.NodeProto) -> tuple[np.ndarray, DType]:
        """The contents and dtype of a Constant node, whichever of its attributes holds them."""
        if len(proto.attribute) != 1:
            raise ConversionError(f"Constant '{proto.name}' has {len(proto.attribute)} attributes, expected one")
        (attribute,) = proto.attribute
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return to_array(value, self._folder)
        if attribute.name == "sparse_value":
            return sparse_to_array(value, self._folder)
        if attribute.name == "value_string":
            return np.array(value.decode(), object), DType.STRING
        if attribute.name == "value_strings":
            return np.array([text.decode() for text in value], object), DType.STRING
        if attribute.name in ("value_float", "value_floats"):
            return np.array(value, np.float32), DType.FLOAT32
        if attribute.name in ("value_int", "value_ints"):
            return np.array(value, np.int64), DType.INT64
        raise ConversionError(f"Constant '{proto.name}' has an unknown attribute '{attribute.name}'")

    def _attribute(self, attribute: onnx.AttributeProto, node: str, scope: Scope) -> Any:
        kind = attribute.type
        if kind == AttributeProto.GRAPH:
            return self.graph(attribute.g, scope)
        if kind == AttributeProto.TENSOR:
            return to_array(attribute.t, self._folder)[0]
        if kind == AttributeProto.STRING:
            return attribute.s.decode("utf-8", "replace")
        if kind == AttributeProto.STRINGS:
            return [item.decode("utf-8", "replace") for item in attribute.strings]
        if kind in (AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.FLOATS, AttributeProto.INTS):
            value = helper.get_attribute_value(attribute)
            return list(value) if kind in (AttributeProto.FLOATS, AttributeProto.INTS) else value
        kind_name = AttributeProto.AttributeType.Name(kind)
        self.problems.append(f"attribute '{attribute.name}' of type {kind_name}: node '{node}'")
        return None

    @functools.cached_property
    def _inferred(self) -> dict[str, TensorType]:
        try:
            inferred = onnx.shape_inference.infer_shapes(self._model)
        except (EncodeError, ValueError, onnx.shape_inference.InferenceError):
            # Models of more than 2 GB, and damaged ones: their own declarations must do.
            return {}
        types: dict[str, TensorType] = {}
        for graph in _graphs(inferred.graph):
            for value in [*graph.input, *graph.value_info, *graph.output]:
                known = self._types.read(value)
                if known is not None:
                    types[value.name] = known
        return types

    def _inferred_types(self) -> Mapping[str, TensorType]:
        """Types by ONNX's shape inference, made once when first asked for."""
        return self._inferred


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _value_names(graph: onnx.GraphProto) -> Iterator[str]:
    """The names of all values of a graph and of the bodies in it."""
    for part in _graphs(graph):
        for value in [*part.input, *part.value_info, *part.output, *part.initializer]:
            yield value.name
        for node in part.node:
            yield from node.input
            yield from node.output


def _trimmed(names: Any) -> list[str]:
    """Names without empty ones at the end, which stand for nothing."""
    result = list(names)
    while result and not result[-1]:
        result.pop()
    return result
