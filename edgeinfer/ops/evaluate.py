"""Running nodes and whole graphs by the NumPy references: slow, plain, and right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeinfer.errors import EdgeInferError, GraphError, ShapeError
from edgeinfer.graph import Graph, Node
from edgeinfer.ops.registry import Operator, find_operator


def require_operator(node: Node) -> Operator:
    """The operator of a node; raises GraphError if there is none."""
    found = find_operator(node.key)
    if found is None:
        raise GraphError(f"{node}: there is no such operator")
    return found


def evaluate_node(
    node: Node, inputs: Sequence[np.ndarray | None], outer: Mapping[str, np.ndarray] | None = None
) -> list[np.ndarray]:
    """Run one node by its reference.

    Args:
        node: the node.
        inputs: its inputs in order; None for one left out.
        outer: values that bodies of the node may read.

    Returns:
        Its outputs, as many as the node names.

    Raises:
        ShapeError: if the inputs do not fit the operator; names the node and the inputs' shapes.
    """
    found = require_operator(node)
    extra: dict[str, Any] = {}
    if "output_count" in found.reserved:
        extra["output_count"] = len(node.outputs)
    if "run_graph" in found.reserved:
        extra["run_graph"] = lambda body, feeds: list(run_graph(body, feeds, outer).values())
    try:
        with np.errstate(all="ignore"):
            result = found.reference(*inputs, **node.attributes, **extra)
    except EdgeInferError:
        raise
    except (ValueError, IndexError, TypeError, KeyError) as error:
        shapes = ", ".join("none" if x is None else f"{x.dtype}{list(x.shape)}" for x in inputs)
        raise ShapeError(f"{node} cannot take inputs ({shapes}): {error}") from error
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    arrays: list[Any] = [item if isinstance(item, list) else np.asarray(item) for item in outputs]
    return arrays[: len(node.outputs)]


def run_graph(
    graph: Graph, feeds: Mapping[str, np.ndarray], outer: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Run a whole graph by the references.

    Args:
        graph: the graph.
        feeds: arrays by input name.
        outer: values of the graphs around this one, if it is a body.

    Returns:
        The outputs by name, in the graph's order.
    """
    values: dict[str, np.ndarray] = {**(outer or {}), **graph.constants, **feeds}
    missing = [name for name in graph.inputs if name not in values]
    if missing:
        raise GraphError(f"graph '{graph.name}': no value for input(s) {missing}")
    for node in graph.nodes:
        inputs = [values[name] if name else None for name in node.inputs]
        results = evaluate_node(node, inputs, values)
        values.update({name: array for name, array in zip(node.outputs, results, strict=False) if name})
    return {name: values[name] for name in graph.outputs}
