"""What of a graph edgeinfer does not support, all at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from onnx import defs

from converters.onnx.tensors import ELEMENT_TYPES
from edgeinfer.graph import ONNX, Graph, Node, subgraphs
from edgeinfer.ops.registry import Operator, find_operator

_NODES_SHOWN = 4
_DTYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def unsupported(graph: Graph, opset: int) -> list[str]:
    """One line for each operator or attribute that is not supported, with the names of the nodes.

    Args:
        graph: the imported graph.
        opset: the version of ONNX's operators that the model was written for.
    """
    nodes: dict[str, list[str]] = {}
    for node in _all_nodes(graph):
        for problem in _problems(node, opset):
            nodes.setdefault(problem, []).append(node.name)
    return [f"{problem}: {_listed(names)}" for problem, names in nodes.items()]


def drop_default_attributes(node: Node, opset: int) -> None:
    """Remove attributes that the operator does not know here but that only state ONNX's default."""
    operator = find_operator(node.key)
    if operator is None or node.domain != ONNX or not defs.has(node.op, opset, ONNX):
        return
    declared = defs.get_schema(node.op, opset, ONNX).attributes
    for name in operator.unknown_attributes(node):
        if name in declared and declared[name].default_value.name:
            default = defs.onnx.helper.get_attribute_value(declared[name].default_value)
            if node.attributes[name] == (default.decode() if isinstance(default, bytes) else default):
                del node.attributes[name]


def _all_nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for body in subgraphs(node):
            yield from _all_nodes(body)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_NODES_SHOWN])
    more = len(names) - _NODES_SHOWN
    return f"node{'s' if len(names) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")


def _problems(node: Node, opset: int) -> list[str]:
    operator = find_operator(node.key)
    if operator is None:
        where = f"domain '{node.domain}'" if node.domain else f"opset {opset}"
        return [f"operator {node.op} ({where})"]
    problems = [f"attribute '{name}' of operator {node.op}" for name in operator.unknown_attributes(node)]
    problems += [
        f"element type {node.attributes[name]} in attribute '{name}' of operator {node.op}"
        for name in _DTYPE_ATTRIBUTES
        if isinstance(node.attributes.get(name), int) and node.attributes[name] not in ELEMENT_TYPES
    ]
    return problems or _misfit(node, operator)


def _misfit(node: Node, operator: Operator) -> list[str]:
    """Why inputs and attributes do not fit the operator's signature, if they do not."""
    reserved = dict.fromkeys(operator.reserved)
    signature = inspect.signature(operator.reference)
    try:
        bound = signature.bind(*node.inputs, **node.attributes, **reserved)
    except TypeError as error:
        return [f"inputs or attributes of operator {node.op} ({error})"]
    required = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
    ]
    return [f"operator {node.op} without its input '{name}'" for name in required if bound.arguments[name] == ""]
