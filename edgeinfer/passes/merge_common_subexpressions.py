"""Merging of nodes and constants that are the same."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from edgeinfer.graph import Graph, Node, subgraphs
from edgeinfer.ops.infer import NEVER_FOLDED
from edgeinfer.passes.pass_base import Pass, PassResult
from edgeinfer.passes.patch import renamed_inputs


class MergeCommonSubexpressions(Pass):
    """Constants with the same contents become one, and so do nodes that do the same to the same values.

    Before: ``a = Relu(x); b = Relu(x); y = a + b``
    After:  ``a = Relu(x); y = a + a``
    """

    def run(self, graph: Graph) -> PassResult:
        """Go through the nodes in order, reading merged values under one name."""
        renames = _equal_constants(graph)
        outputs = set(graph.outputs)
        seen: dict[Hashable, Node] = {}
        kept: list[Node] = []
        for original in graph.nodes:
            node = renamed_inputs(original, renames)
            key = _key(node)
            twin = seen.get(key) if key is not None else None
            if twin is None or outputs.intersection(node.outputs):
                kept.append(node)
                if key is not None:
                    seen.setdefault(key, node)
                continue
            renames.update({name: same for name, same in zip(node.outputs, twin.outputs, strict=True) if name})
        if not renames:
            return PassResult(graph, 0)
        result = graph.copy()
        result.nodes = kept
        for name in renames:
            result.constants.pop(name, None)
            result.types.pop(name, None)
        return PassResult(result, len(renames))


def _equal_constants(graph: Graph) -> dict[str, str]:
    """Constants that equal an earlier one, with the name of that one; outputs of the graph keep their own."""
    first: dict[Hashable, str] = {}
    renames = {}
    for name, array in graph.constants.items():
        key = (graph.types[name].dtype, _contents(array))
        if key in first and name not in graph.outputs:
            renames[name] = first[key]
        else:
            first.setdefault(key, name)
    return renames


def _contents(array: np.ndarray) -> Hashable:
    """What makes an array equal to another: shape, dtype and bits."""
    data = tuple(array.ravel()) if array.dtype.kind == "O" else array.tobytes()
    return array.shape, array.dtype.str, data


def _key(node: Node) -> Hashable | None:
    """What makes a node do the same as another, None if that cannot be told."""
    if node.op in NEVER_FOLDED or any(subgraphs(node)):
        return None
    attributes = tuple((name, _frozen(value)) for name, value in sorted(node.attributes.items()))
    present = tuple(bool(name) for name in node.outputs)
    return node.domain, node.op, tuple(node.inputs), attributes, present


def _frozen(value: Any) -> Hashable:
    if isinstance(value, np.ndarray):
        return _contents(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return type(value).__name__, value
