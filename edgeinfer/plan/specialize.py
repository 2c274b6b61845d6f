"""A graph with symbolic dimensions and concrete inputs become a static graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from edgeinfer.errors import DynamicShapeError, InputError
from edgeinfer.graph import DType, Graph, Node, TensorType, reads
from edgeinfer.ops import infer_types


def check_input_shapes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check the shapes of inputs against the dimensions that the graph declares.

    Args:
        graph: the graph.
        shapes: a shape for every input of the graph, and nothing else.

    Raises:
        InputError: for an unknown or missing input, a wrong rank, a wrong fixed dimension, or two sizes
            for one symbolic dimension.
    """
    unknown = [name for name in shapes if name not in graph.inputs]
    if unknown:
        raise InputError(f"there is no input {_quoted(unknown)}; the inputs are {_quoted(graph.inputs)}")
    missing = [name for name in graph.inputs if name not in shapes]
    if missing:
        raise InputError(f"missing input {_quoted(missing)}; the inputs are {_quoted(graph.inputs)}")
    sizes: dict[str, tuple[int, str]] = {}
    for name in graph.inputs:
        declared, given = graph.types[name], shapes[name]
        if declared.shape is None:
            continue
        if len(declared.shape) != len(given):
            raise InputError(
                f"input '{name}' must have rank {len(declared.shape)} ({declared}), "
                f"got rank {len(given)}: {list(given)}"
            )
        for axis, (dim, size) in enumerate(zip(declared.shape, given, strict=True)):
            if isinstance(dim, int):
                if dim != size:
                    raise InputError(
                        f"input '{name}' must have size {dim} on axis {axis} ({declared}), got {list(given)}"
                    )
            elif dim in sizes and sizes[dim][0] != size:
                known, place = sizes[dim]
                raise InputError(
                    f"input '{name}' has size {size} on axis {axis}, but dimension '{dim}' is already {known} "
                    f"by input '{place}'; both must be the same"
                )
            else:
                sizes[dim] = (size, name)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def is_plannable(value_type: TensorType | None) -> bool:
    """Whether a value can live in an arena: all dimensions known, elements that are numbers."""
    return value_type is not None and value_type.is_static and value_type.dtype is not DType.STRING


def live_nodes(nodes: Iterable[Node], wanted: Collection[str], known: Collection[str]) -> list[Node]:
    """The nodes, in order, that lead to a wanted value and whose outputs are not known already."""
    needed = set(wanted)
    kept: list[Node] = []
    for node in reversed(list(nodes)):
        made = [name for name in node.outputs if name in needed and name not in known]
        if made:
            kept.append(node)
            needed |= reads(node)
    return kept[::-1]


def specialize(graph: Graph, input_types: Mapping[str, TensorType]) -> Graph:
    """Make all shapes static: known values become constants, dead nodes go.

    Before: ``y[n, c] = Reshape(x, Concat(Shape(x)...))`` with ``x: float32[n, c, 1, 1]``
    After: ``y[2, 8] = Reshape(x, constant)`` with ``x: float32[2, 8, 1, 1]``

    Args:
        graph: the graph.
        input_types: a static type for each input.

    Returns:
        A graph in which each value has a static type.

    Raises:
        ShapeError: naming the node whose inputs do not fit.
        DynamicShapeError: naming the nodes whose output shapes depend on data.
    """
    types, known = infer_types(graph, dict(input_types))
    static = static_graph(graph, graph.nodes, graph.outputs, types, known)
    dynamic = [str(node) for node in static.nodes if not all(is_plannable(types.get(n)) for n in node.outputs if n)]
    if dynamic:
        raise DynamicShapeError(f"the output shapes of {', '.join(dynamic)} depend on data and cannot be planned ahead")
    return static


def static_graph(
    graph: Graph,
    nodes: Iterable[Node],
    outputs: Iterable[str],
    types: Mapping[str, TensorType],
    known: Mapping[str, np.ndarray],
) -> Graph:
    """The graph of those ``nodes`` that ``outputs`` need, with inferred types and known values as constants.

    Args:
        graph: where the nodes are from.
        nodes: nodes in topological order.
        outputs: values that the result must deliver.
        types: types of all values.
        known: contents of values that are known, constants included.
    """
    outputs = list(outputs)
    kept = live_nodes(nodes, outputs, known)
    used = {name for node in kept for name in reads(node)} | set(outputs)
    made = [name for node in kept for name in node.outputs if name]
    constants = {name: known[name] for name in known if name in used}
    named = [*graph.inputs, *constants, *made]
    return Graph(
        graph.name,
        list(graph.inputs),
        outputs,
        kept,
        {name: types[name] for name in named if name in types},
        constants,
        graph.metadata,
    )
