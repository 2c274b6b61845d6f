"""Activations as attributes of fused operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeinfer.graph import ONNX, GraphView, Node
from edgeinfer.passes.patterns import is_op, scalar

# ONNX activations that fused operators take, with their attributes that become parameters.
_ACTIVATIONS: dict[str, tuple[tuple[str, float], ...]] = {
    "Relu": (),
    "LeakyRelu": (("alpha", 0.01),),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "HardSwish": (),
    "Sigmoid": (),
    "Tanh": (),
    "Elu": (("alpha", 1.0),),
}


def activation_of(view: GraphView, node: Node) -> dict[str, Any] | None:
    """The attributes ``activation`` and ``activation_parameters`` that stand for a node, None if it is none."""
    if is_op(node, "Clip"):
        bounds = []
        for index, default in ((1, -np.inf), (2, np.inf)):
            value = scalar(view, node.input(index)) if node.input(index) else default
            if value is None:
                return None
            bounds.append(float(value))
        return {"activation": "Clip", "activation_parameters": bounds}
    if is_op(node, "Gelu") and node.attributes.get("approximate", "none") == "none":
        return {"activation": "Gelu"}
    if is_op(node, "Swish") and node.attributes.get("alpha", 1.0) == 1.0:
        return {"activation": "Silu"}
    if node.domain != ONNX or node.op not in _ACTIVATIONS:
        return None
    parameters = [float(node.attributes.get(name, default)) for name, default in _ACTIVATIONS[node.op]]
    result: dict[str, Any] = {"activation": node.op}
    if parameters:
        result["activation_parameters"] = parameters
    return result
