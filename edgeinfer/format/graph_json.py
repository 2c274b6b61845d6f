"""A graph as JSON values, and back; constants and tensor attributes are referred to by name.

Types of constants are left out where they are those of their tensors. Constants of 4-bit integers refer to tensors of
uint8 that hold two of them in a byte.

A graph is ``{"name", "inputs", "outputs", "constants": {name: tensor}, "types": {name: [dtype, shape or null]},
"nodes": [...], "metadata": {...}}``. An attribute is ``{"value": v}``, ``{"list": [v, …]}``, ``{"tensor": name}`` or
``{"graph": {...}}``; a float that JSON cannot spell is ``{"float": "inf"}``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeinfer.errors import FormatError, GraphError
from edgeinfer.format.four_bits import FOUR_BITS, pack_four_bits, unpack_four_bits
from edgeinfer.format.strict_json import check_text
from edgeinfer.graph import DType, Graph, Node, TensorType, verify

MAX_DEPTH = 16
MAX_DIMENSION = 1 << 40

_DTYPES = {dtype.value: dtype for dtype in DType}
_GRAPH_KEYS = frozenset({"name", "inputs", "outputs", "constants", "types", "nodes", "metadata"})
_NODE_KEYS = frozenset({"op", "domain", "name", "inputs", "outputs", "attributes"})


class GraphWriter:
    """Turns a graph and its bodies into JSON values.

    Attributes:
        tensors: the tensors that the JSON refers to, by the name under which it does: (element type, array).
    """

    def __init__(self) -> None:
        self.tensors: dict[str, tuple[DType, np.ndarray]] = {}

    def graph(self, graph: Graph, prefix: str = "") -> dict[str, Any]:
        """The JSON object of a graph.

        Args:
            graph: the graph.
            prefix: put before the names of its tensors, so that those of bodies differ from those around them.

        Raises:
            FormatError: if it holds a constant or an attribute that cannot be stored.
        """
        constants = {
            name: self._store(prefix + name, graph.types[name].dtype, array) for name, array in graph.constants.items()
        }
        return {
            "name": graph.name,
            "inputs": list(graph.inputs),
            "outputs": list(graph.outputs),
            "constants": constants,
            "types": {
                name: _type_json(value_type)
                for name, value_type in graph.types.items()
                if not _is_implied(value_type, graph.constants.get(name))
            },
            "nodes": [self._node(node, f"{prefix}{index}/") for index, node in enumerate(graph.nodes)],
            "metadata": dict(graph.metadata),
        }

    def _store(self, stem: str, dtype: DType, array: np.ndarray) -> str:
        """Keep a tensor; returns the name it got, which is no name that the container needs itself."""
        if dtype is DType.STRING:
            raise FormatError(f"tensor '{stem}' holds texts, which cannot be stored")
        name = stem
        while name in self.tensors or name.startswith("__"):
            name = f"tensor/{name}"
        self.tensors[name] = (DType.UINT8, pack_four_bits(array)) if dtype in FOUR_BITS else (dtype, array)
        return name

    def _node(self, node: Node, prefix: str) -> dict[str, Any]:
        attributes = {
            key: self._attribute(value, f"{prefix}{key}/", f"attribute '{key}' of {node}")
            for key, value in node.attributes.items()
        }
        return {
            "op": node.op,
            "domain": node.domain,
            "name": node.name,
            "inputs": list(node.inputs),
            "outputs": list(node.outputs),
            "attributes": attributes,
        }

    def _attribute(self, value: Any, prefix: str, what: str) -> dict[str, Any]:
        if isinstance(value, Graph):
            return {"graph": self.graph(value, prefix)}
        if isinstance(value, np.ndarray):
            return {"tensor": self._store(prefix, DType.of(value), value)}
        if isinstance(value, (list, tuple)):
            return {"list": [_scalar_json(item, what) for item in value]}
        return {"value": _scalar_json(value, what)}


def _scalar_json(value: Any, what: str) -> Any:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else {"float": repr(number)}
    if isinstance(value, str):
        return value
    raise FormatError(f"{what} holds a value of type {type(value).__name__}, which cannot be stored")


def _is_implied(value_type: TensorType, constant: np.ndarray | None) -> bool:
    return constant is not None and value_type == TensorType(DType.of(constant), tuple(constant.shape))


def _type_json(value_type: TensorType) -> list[Any]:
    return [value_type.dtype.value, None if value_type.shape is None else list(value_type.shape)]


def read_graph(value: Any, tensors: Mapping[str, np.ndarray]) -> Graph:
    """The graph of a JSON object, every part checked.

    Args:
        value: what ``GraphWriter.graph`` made.
        tensors: the tensors that it refers to.

    Raises:
        FormatError: naming what is missing, of the wrong kind, or against the rules of graphs.
    """
    graph = _read_graph(value, tensors, 0)
    try:
        verify(graph)
    except GraphError as error:
        raise FormatError(f"the graph is not valid: {error}") from error
    return graph


def _read_graph(value: Any, tensors: Mapping[str, np.ndarray], depth: int) -> Graph:
    if depth > MAX_DEPTH:
        raise FormatError(f"the graph's bodies are nested more than {MAX_DEPTH} deep")
    fields = _object(value, "a graph", _GRAPH_KEYS)
    types = {name: _read_type(item, name) for name, item in _object(fields["types"], "the types of values").items()}
    constants = {}
    for name, place in _object(fields["constants"], "the constants").items():
        array = _tensor(place, tensors, f"constant '{name}'")
        declared = types.setdefault(name, TensorType(DType.of(array), tuple(array.shape)))
        if declared.dtype in FOUR_BITS:
            array = unpack_four_bits(array, declared, f"constant '{name}'")
        if declared.dtype.numpy != array.dtype:
            raise FormatError(f"constant '{name}' is declared as {declared}, but stored as {array.dtype}")
        constants[name] = array
    metadata = _object(fields["metadata"], "the model's metadata")
    return Graph(
        check_text(fields["name"], "the graph's name"),
        _texts(fields["inputs"], "the inputs"),
        _texts(fields["outputs"], "the outputs"),
        [_read_node(node, tensors, depth) for node in _list(fields["nodes"], "the nodes")],
        types,
        constants,
        {key: check_text(text, f"metadata '{key}'") for key, text in metadata.items()},
    )


def _object(value: Any, what: str, keys: frozenset[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} should be an object, found {value!r:.60}")
    if keys is not None and value.keys() != keys:
        raise FormatError(f"{what} should have {sorted(keys)}, found {sorted(value)!r:.200}")
    for name in value:
        check_text(name, f"a name in {what}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(f"{what} should be a list, found {value!r:.60}")
    return value


def _texts(value: Any, what: str) -> list[str]:
    return [check_text(item, f"one of {what}") for item in _list(value, what)]


def _tensor(name: Any, tensors: Mapping[str, np.ndarray], what: str) -> np.ndarray:
    if check_text(name, f"the tensor of {what}") not in tensors:
        raise FormatError(f"{what} refers to the tensor '{name}', which the file does not hold")
    return tensors[name]


def _read_type(value: Any, name: str) -> TensorType:
    what = f"the type of '{name}'"
    if len(_list(value, what)) != 2:
        raise FormatError(f"{what} should be a dtype and a shape, found {value!r:.60}")
    text, shape = value
    dtype = _DTYPES.get(check_text(text, what))
    if dtype is None:
        raise FormatError(f"{what} has the unknown dtype {text!r:.40}")
    if shape is None:
        return TensorType(dtype, None)
    for dim in _list(shape, what):
        if isinstance(dim, str):
            check_text(dim, what)
        elif type(dim) is not int or not 0 <= dim < MAX_DIMENSION:
            raise FormatError(f"{what} has the dimension {dim!r:.60}")
    return TensorType(dtype, tuple(shape))


def _read_node(value: Any, tensors: Mapping[str, np.ndarray], depth: int) -> Node:
    fields = _object(value, "a node", _NODE_KEYS)
    name = check_text(fields["name"], "a node's name")
    where = f"node '{name}'"
    attributes = _object(fields["attributes"], f"the attributes of {where}")
    return Node(
        check_text(fields["op"], f"the operator of {where}"),
        _texts(fields["inputs"], f"the inputs of {where}"),
        _texts(fields["outputs"], f"the outputs of {where}"),
        {
            key: _read_attribute(item, f"attribute '{key}' of {where}", tensors, depth)
            for key, item in attributes.items()
        },
        name,
        check_text(fields["domain"], f"the domain of {where}"),
    )


def _read_attribute(value: Any, what: str, tensors: Mapping[str, np.ndarray], depth: int) -> Any:
    if len(_object(value, what)) != 1:
        raise FormatError(f"{what} should have one kind, found {sorted(value)!r:.60}")
    ((kind, item),) = value.items()
    if kind == "graph":
        return _read_graph(item, tensors, depth + 1)
    if kind == "tensor":
        return _tensor(item, tensors, what)
    if kind == "list":
        return [_read_scalar(entry, what) for entry in _list(item, what)]
    if kind == "value":
        return _read_scalar(item, what)
    raise FormatError(f"{what} is of the unknown kind {kind!r:.40}")


def _read_scalar(value: Any, what: str) -> int | float | str | bool:
    if isinstance(value, dict):
        if value not in ({"float": "inf"}, {"float": "-inf"}, {"float": "nan"}):
            raise FormatError(f"{what} holds {value!r:.60}, which is no number")
        return float(value["float"])
    if isinstance(value, str):
        return check_text(value, what)
    if isinstance(value, (bool, float)):
        return value
    if type(value) is int and -(1 << 63) <= value < 1 << 64:
        return value
    raise FormatError(f"{what} holds {value!r:.60}, which is neither a number nor a text")
