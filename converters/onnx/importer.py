"""From an ONNX model to a graph: parsing, upgrading to one opset, checking that every operator is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, helper

from converters.onnx.functions import inline_functions
from converters.onnx.tensors import to_array, to_type
from converters.onnx.upgrade import upgrade_node
from edgeinfer.errors import ConversionError, UnsupportedOperatorError
from edgeinfer.graph import ONNX, DType, Graph, Node, TensorType, subgraphs
from edgeinfer.ops import find_operator

OLDEST_OPSET = 7
_DEFAULT_DOMAINS = ("", "ai.onnx")


def import_model(model: str | Path | onnx.ModelProto) -> Graph:
    """Read an ONNX model as a graph.

    Args:
        model: path of an ``.onnx`` file, or a model in memory.

    Returns:
        The graph, all operators at the newest opset.

    Raises:
        ConversionError: if this is no ONNX model, is damaged, or is too old.
        UnsupportedOperatorError: listing every operator and attribute that edgeinfer does not know.
    """
    folder = None
    if not isinstance(model, onnx.ModelProto):
        folder = Path(model).parent
        model = _read(Path(model))
    if not model.HasField("graph") or not model.graph.output:
        raise ConversionError("the file holds no ONNX graph with outputs; is it an ONNX model?")
    model = inline_functions(model)
    opset = _opset(model)
    graph = _Importer(opset, folder).graph(model.graph, {})
    if not graph.name:
        graph.name = "model"
    graph.metadata = {entry.key: entry.value for entry in model.metadata_props}
    graph.metadata.setdefault("producer", f"{model.producer_name} {model.producer_version}".strip())
    problems = _problems(graph)
    if problems:
        raise UnsupportedOperatorError(problems)
    return graph


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise ConversionError(f"{path}: there is no such file")
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except (DecodeError, ValueError, OSError) as error:
        raise ConversionError(f"{path} is not an ONNX file: {error}") from error


def _opset(model: onnx.ModelProto) -> int:
    for entry in model.opset_import:
        if entry.domain in _DEFAULT_DOMAINS:
            if entry.version < OLDEST_OPSET:
                raise ConversionError(
                    f"the model uses opset {entry.version}; edgeinfer reads {OLDEST_OPSET} and newer: "
                    "upgrade it with onnx.version_converter"
                )
            return int(entry.version)
    return OLDEST_OPSET


def _problems(graph: Graph) -> list[str]:
    problems = []
    for node in graph.nodes:
        operator = find_operator(node.key)
        if operator is None:
            domain = f" of domain '{node.domain}'" if node.domain else ""
            problems.append(f"operator {node.op}{domain} (node '{node.name}')")
        else:
            problems += [
                f"attribute '{name}' of operator {node.op} (node '{node.name}')"
                for name in operator.unknown_attributes(node)
            ]
        for body in subgraphs(node):
            problems += _problems(body)
    return problems


class _Importer:
    """Turns the graphs of one model into ours; remembers the node names given so far."""

    def __init__(self, opset: int, folder: Path | None) -> None:
        self._opset = opset
        self._folder = folder
        self._names: set[str] = set()

    def graph(self, proto: onnx.GraphProto, outer: Mapping[str, TensorType]) -> Graph:
        graph = Graph(proto.name)
        for tensor in proto.initializer:
            self._add_constant(graph, tensor.name, *to_array(tensor, self._folder))
        for sparse in proto.sparse_initializer:
            self._add_constant(graph, sparse.values.name, *_dense(sparse, self._folder))
        for value in proto.input:
            if value.name in graph.constants:
                continue
            value_type = to_type(value)
            graph.inputs.append(value.name)
            graph.types[value.name] = value_type or TensorType(DType.FLOAT32, None)
        for value in [*proto.value_info, *proto.output]:
            value_type = to_type(value)
            if value_type is not None and value.name not in graph.types:
                graph.types[value.name] = value_type
        known = {**outer, **graph.types}
        for node in proto.node:
            self._add_node(graph, node, known)
        graph.outputs = [value.name for value in proto.output]
        return graph

    def _add_constant(self, graph: Graph, name: str, array: np.ndarray, dtype: DType) -> None:
        graph.constants[name] = array
        graph.types[name] = TensorType(dtype, tuple(array.shape))

    def _add_node(self, graph: Graph, proto: onnx.NodeProto, known: dict[str, TensorType]) -> None:
        domain = ONNX if proto.domain in _DEFAULT_DOMAINS else proto.domain
        if proto.op_type == "Constant" and domain == ONNX:
            array, dtype = self._constant(proto)
            self._add_constant(graph, proto.output[0], array, dtype)
            known[proto.output[0]] = graph.types[proto.output[0]]
            return
        attributes = {item.name: self._attribute(item, known) for item in proto.attribute}
        name = self._fresh_node_name(proto.name or f"{proto.op_type}_{next(filter(None, proto.output), '')}")
        node = Node(proto.op_type, list(proto.input), list(proto.output), attributes, name, domain)
        while node.outputs and not node.outputs[-1]:
            node.outputs.pop()
        while node.inputs and not node.inputs[-1]:
            node.inputs.pop()
        graph.nodes += upgrade_node(graph, node, self._opset, known) if domain == ONNX else [node]

    def _constant(self, proto: onnx.NodeProto) -> tuple[np.ndarray, DType]:
        (attribute,) = proto.attribute
        value = helper.get_attribute_value(attribute)
        if attribute.name == "value":
            return to_array(value, self._folder)
        if attribute.name == "sparse_value":
            return _dense(value, self._folder)
        if attribute.name.startswith("value_string"):
            texts = [value.decode()] if isinstance(value, bytes) else [text.decode() for text in value]
            array = np.array(texts, object)
            return (array[0:1].reshape(()) if isinstance(value, bytes) else array), DType.STRING
        array = np.asarray(value, np.float32 if "float" in attribute.name else np.int64)
        return array, DType.of(array)

    def _attribute(self, attribute: onnx.AttributeProto, known: Mapping[str, TensorType]) -> Any:
        if attribute.type == AttributeProto.GRAPH:
            return self.graph(attribute.g, known)
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.TENSOR:
            return to_array(value, self._folder)[0]
        if attribute.type == AttributeProto.STRING:
            return value.decode("utf-8", "replace")
        if attribute.type == AttributeProto.STRINGS:
            return [item.decode("utf-8", "replace") for item in value]
        if attribute.type in (AttributeProto.FLOATS, AttributeProto.INTS):
            return list(value)
        if attribute.type in (AttributeProto.FLOAT, AttributeProto.INT):
            return value
        raise ConversionError(f"attribute '{attribute.name}' has a type that is not supported")

    def _fresh_node_name(self, stem: str) -> str:
        name, number = stem, 1
        while name in self._names:
            name = f"{stem}_{number}"
            number += 1
        self._names.add(name)
        return name


def _dense(sparse: onnx.SparseTensorProto, folder: Path | None) -> tuple[np.ndarray, DType]:
    values, dtype = to_array(sparse.values, folder)
    indices, _ = to_array(sparse.indices, folder)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        dense.ravel()[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense, dtype
