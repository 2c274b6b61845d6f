"""Upgrades of reductions."""

from __future__ import annotations

import numpy as np

from converters.onnx.scope import Scope
from converters.onnx.upgrade import attribute_to_input, upgrade
from edgeinfer.graph import Node


@upgrade(13, "ReduceSum")
@upgrade(18, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
@upgrade(18, "ReduceLogSum", "ReduceLogSumExp")
def axes_to_input(scope: Scope, node: Node) -> list[Node]:
    """The axes became an input."""
    attribute_to_input(scope, node, "axes", 1, np.int64)
    return [node]
