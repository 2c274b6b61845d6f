"""Shape and dtype inference over a whole graph, folding what is known as it goes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.errors import EdgeInferError
from edgeinfer.graph import ONNX, Graph, Node, TensorType, is_static
from edgeinfer.ops.evaluate import evaluate_node, require_operator
from edgeinfer.ops.registry import Inference

# Contents are followed through the graph only for small tensors: shapes, axes, sizes.
FOLDED_ELEMENTS = 4096
# Results may be somewhat larger; this bounds what ConstantOfShape, Expand, Tile or Range make of a few numbers.
RESULT_ELEMENTS = 1 << 18
NEVER_FOLDED = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}


def known_output(node: Node, inference: Inference, inferred: Sequence[TensorType]) -> list[np.ndarray] | None:
    """The outputs of a node if they follow from what is known of its inputs and are small, else None.

    True for nodes whose inputs all have known, small contents, and for ``Shape`` and ``Size`` of static shapes.
    """
    if node.op in ("Shape", "Size") and node.domain == ONNX:
        shape = inference.shape(0)
        if not is_static(shape):
            return None
        return evaluate_node(node, [np.broadcast_to(np.int8(0), shape)])  # type: ignore[arg-type]
    present = [index for index, name in enumerate(node.inputs) if name]
    if node.op in NEVER_FOLDED or len(inference.constants) < len(present):
        return None
    if sum(inference.constants[index].size for index in present) > FOLDED_ELEMENTS:
        return None
    shapes = [value_type.shape for value_type in inferred]
    if any(is_static(shape) and math.prod(map(int, shape or ())) > RESULT_ELEMENTS for shape in shapes):
        return None
    return evaluate_node(node, [inference.constants.get(index) for index in range(len(node.inputs))])


def infer_types(
    graph: Graph, input_types: dict[str, TensorType] | None = None
) -> tuple[dict[str, TensorType], dict[str, np.ndarray]]:
    """Infer the type of every value of a graph.

    Args:
        graph: the graph; its own types of inputs and constants are taken as given.
        input_types: types that replace those of inputs, for example with concrete shapes.

    Returns:
        The types by value name, and the contents of those values that turned out to be known
        (constants of the graph included).

    Raises:
        ShapeError: naming the node whose inputs do not fit.
    """
    types = {name: graph.types[name] for name in [*graph.inputs, *graph.constants]}
    types.update(input_types or {})
    known: dict[str, np.ndarray] = dict(graph.constants)
    for node in graph.nodes:
        inference = Inference(
            node,
            [types.get(name) if name else None for name in node.inputs],
            {index: known[name] for index, name in enumerate(node.inputs) if name in known},
        )
        try:
            inferred = require_operator(node).infer(inference)
        except EdgeInferError:
            raise
        except (TypeError, ValueError, IndexError) as error:
            shown = ", ".join(str(item) for item in inference.inputs)
            raise inference.error(f"cannot take inputs ({shown}): {error}") from error
        outputs = known_output(node, inference, inferred)
        if outputs is not None and not any(isinstance(item, list) for item in outputs):
            known.update({name: array for name, array in zip(node.outputs, outputs, strict=False) if name})
        for name, value_type in zip(node.outputs, inferred, strict=False):
            if name:
                types[name] = TensorType(value_type.dtype, known[name].shape) if name in known else value_type
    return types, known
