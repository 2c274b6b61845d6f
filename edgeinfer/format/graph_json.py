"""A graph as JSON values, and back; constants and tensor attributes are referred to by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeinfer.errors import FormatError, GraphError
from edgeinfer.graph import DType, Graph, Node, TensorType, verify

Tensors = dict[str, tuple[DType, np.ndarray]]

MAX_DEPTH = 16


class GraphWriter:
    """Turns a graph and its bodies into JSON values and collects the tensors that they refer to."""

    def __init__(self) -> None:
        self.tensors: Tensors = {}

    def graph(self, graph: Graph, prefix: str = "") -> dict[str, Any]:
        """The JSON object of a graph; names of tensors get the prefix of the bodies around them."""
        for name, array in graph.constants.items():
            self._add(prefix + name, graph.types[name].dtype, array)
        return {
            "name": graph.name,
            "inputs": list(graph.inputs),
            "outputs": list(graph.outputs),
            "constants": {name: prefix + name for name in graph.constants},
            "types": {name: _type_json(kind) for name, kind in graph.types.items()},
            "nodes": [self._node(node, f"{prefix}{index}/") for index, node in enumerate(graph.nodes)],
            "metadata": dict(graph.metadata),
        }

    def _add(self, name: str, dtype: DType, array: np.ndarray) -> None:
        if name in self.tensors:
            raise FormatError(f"two tensors would be stored as '{name}'")
        if dtype is DType.STRING:
            raise FormatError(f"constant '{name}' holds texts, which cannot be stored")
        self.tensors[name] = (dtype, array)

    def _node(self, node: Node, prefix: str) -> dict[str, Any]:
        attributes = {key: self._attribute(value, f"{prefix}{key}/") for key, value in node.attributes.items()}
        return {
            "op": node.op, "domain": node.domain, "name": node.name,
            "inputs": list(node.inputs), "outputs": list(node.outputs), "attributes": attributes,
        }  # fmt: skip

    def _attribute(self, value: Any, prefix: str) -> dict[str, Any]:
        if isinstance(value, Graph):
            return {"graph": self.graph(value, prefix)}
        if isinstance(value, np.ndarray):
            self._add(prefix, DType.of(value), value)
            return {"tensor": prefix}
        if isinstance(value, (list, tuple)):
            return {"list": [_number(item) for item in value]}
        return {"value": _number(value)}


def _number(value: Any) -> Any:
    """Plain JSON values; infinities and NaN, which JSON lacks, become texts in an object."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if np.isfinite(number) else {"float": repr(number)}
    if isinstance(value, str):
        return value
    raise FormatError(f"an attribute of type {type(value).__name__} cannot be stored")


def _type_json(kind: TensorType) -> list[Any]:
    return [kind.dtype.value, None if kind.shape is None else list(kind.shape)]


def read_graph(value: Any, tensors: Mapping[str, np.ndarray], depth: int = 0) -> Graph:
    """The graph of a JSON object, every part checked.

    Raises:
        FormatError: naming what is missing or of the wrong kind.
    """
    if depth > MAX_DEPTH:
        raise FormatError("the graph's bodies are nested too deeply")
    try:
        graph = Graph(
            _text(value["name"]), _texts(value["inputs"]), _texts(value["outputs"]),
            [_read_node(node, tensors, depth) for node in _list(value["nodes"])],
            {_text(name): _read_type(kind) for name, kind in value["types"].items()},
            {_text(name): tensors[_text(place)] for name, place in value["constants"].items()},
            {_text(key): _text(text) for key, text in value["metadata"].items()},
        )  # fmt: skip
    except FormatError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FormatError(f"the graph is incomplete: {type(error).__name__} {error}") from error
    if depth == 0:
        try:
            verify(graph)
        except GraphError as error:
            raise FormatError(f"the graph is not valid: {error}") from error
    return graph


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FormatError(f"expected a text, found {value!r}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(f"expected a list, found {value!r}")
    return value


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in _list(value)]


def _read_type(value: Any) -> TensorType:
    dtype, shape = _list(value)
    if shape is None:
        return TensorType(DType(dtype), None)
    for dim in _list(shape):
        if isinstance(dim, bool) or not isinstance(dim, (int, str)):
            raise FormatError(f"{dim!r} is not a dimension")
    return TensorType(DType(dtype), tuple(shape))


def _read_node(value: Any, tensors: Mapping[str, np.ndarray], depth: int) -> Node:
    attributes = {_text(key): _read_attribute(item, tensors, depth) for key, item in value["attributes"].items()}
    return Node(
        _text(value["op"]), _texts(value["inputs"]), _texts(value["outputs"]), attributes, _text(value["name"]),
        _text(value["domain"]),
    )  # fmt: skip


def _read_attribute(value: Any, tensors: Mapping[str, np.ndarray], depth: int) -> Any:
    if not isinstance(value, dict) or len(value) != 1:
        raise FormatError(f"{value!r} is not an attribute")
    ((kind, item),) = value.items()
    if kind == "graph":
        return read_graph(item, tensors, depth + 1)
    if kind == "tensor":
        return tensors[_text(item)]
    if kind == "list":
        return [_read_number(entry) for entry in _list(item)]
    if kind == "value":
        return _read_number(item)
    raise FormatError(f"'{kind}' is no kind of attribute")


def _read_number(value: Any) -> Any:
    if isinstance(value, dict):
        return float(_text(value["float"]))
    if isinstance(value, (bool, int, float, str)):
        return value
    raise FormatError(f"{value!r} is not a number or text")
