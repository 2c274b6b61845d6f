"""Operators of older opsets brought to their newest form, one node at a time.

Each ``upgrade_<family>.py`` registers small functions by operator and by the opset version that brought
the new form. A function takes a node of the form before and returns nodes of that version's form; they
are applied one after another until the newest form is reached.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converters.onnx.scope import Scope
from edgeinfer.graph import ONNX, Node
from edgeinfer.records import altered

Upgrade = Callable[[Scope, Node], list[Node]]

# The domain of the operators that ONNX Runtime adds.
ORT = "com.microsoft"

# A version above every opset: for rewrites that hold whatever the model's opset is.
ALWAYS = 1000

_UPGRADES: dict[str, dict[int, Upgrade]] = {}


class CannotUpgradeError(Exception):
    """A node has no equivalent in the newest opset; the message says what stands in the way."""


def upgrade(since: int, *operators: str) -> Callable[[Upgrade], Upgrade]:
    """Register the decorated function as what brings ``operators`` to their form of version ``since``."""

    def register(function: Upgrade) -> Upgrade:
        for operator in operators:
            versions = _UPGRADES.setdefault(operator, {})
            if since in versions:
                raise ValueError(f"two upgrades of {operator} to version {since}")
            versions[since] = function
        return function

    return register


def upgrade_node(scope: Scope, node: Node, opset: int) -> list[Node]:
    """The nodes, in the newest form, that do what a node of a model of this opset does.

    Raises:
        CannotUpgradeError: if there are none.
    """
    if node.domain not in (ONNX, ORT):
        return [node]
    if node.domain == ORT:
        # Operators of both are written alike; those that stay in this domain are not known.
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            return upgrade_node(scope, altered(node, domain=ONNX), opset)
        if ALWAYS not in _UPGRADES.get(node.op, {}):
            return [node]
    later = [version for version in _UPGRADES.get(node.op, {}) if version > opset]
    if not later:
        return [node]
    version = min(later)
    result: list[Node] = []
    for new in _UPGRADES[node.op][version](scope, node):
        result += upgrade_node(scope, new, version)
    return result


def attribute_to_input(scope: Scope, node: Node, name: str, position: int, dtype: np.dtype | type) -> None:
    """Move an attribute, if the node carries it, to an input, as a constant."""
    if name in node.attributes:
        value = np.asarray(node.attributes.pop(name), dtype)
        set_input(node, position, scope.add_constant(f"{node.name}.{name}", value))


def set_input(node: Node, position: int, value: str) -> None:
    """Set an input; inputs left out before it become ``""``."""
    node.inputs += [""] * (position + 1 - len(node.inputs))
    node.inputs[position] = value
