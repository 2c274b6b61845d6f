"""A graph as text, one line a node."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.graph.graph import Graph


def _attribute(value: Any) -> str:
    if isinstance(value, Graph):
        return f"<graph {value.name}: {len(value.nodes)} nodes>"
    if isinstance(value, np.ndarray):
        return f"<{value.dtype}{list(value.shape)}>"
    return repr(value)


def format_graph(graph: Graph) -> str:
    """The graph as readable text: inputs, nodes with the types of their outputs, outputs.

    Example:
        ``y: float32[1x8x4x4] = Conv(x, w, b) {strides=[2, 2]}``
    """

    def typed(name: str) -> str:
        known = graph.types.get(name)
        return f"{name}: {known}" if known else name

    lines = [f"graph {graph.name}({', '.join(typed(name) for name in graph.inputs)})"]
    for node in graph.nodes:
        outputs = ", ".join(typed(name) for name in node.outputs)
        attributes = ", ".join(f"{key}={_attribute(value)}" for key, value in sorted(node.attributes.items()))
        suffix = f" {{{attributes}}}" if attributes else ""
        prefix = f"{node.domain}." if node.domain else ""
        lines.append(f"  {outputs} = {prefix}{node.op}({', '.join(node.inputs)}){suffix}")
    lines.append(f"  return {', '.join(graph.outputs)}")
    return "\n".join(lines)
