"""A picture plus the same picture times a factor for each channel becomes one product."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import GraphView, Node
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import is_real, made_by, only_read_by


class FactorChannelScale(Rule):
    """Squeeze-and-excitation with a shortcut reads its picture once.

    Before: ``y = x + x * s`` with x [N, C, H, W] and a computed s [N, C, 1, 1]
    After:  ``y = x * (s + 1)``
    """

    anchors = frozenset({"Add"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match a sum of a value and its product with something smaller."""
        for x, product in (node.inputs, node.inputs[::-1]):
            mul = made_by(view, product, "Mul")
            if mul is None or x not in mul.inputs or not is_real(view, x):
                continue
            scale = mul.inputs[1] if mul.inputs[0] == x else mul.inputs[0]
            picture, factors = view.graph.types.get(x), view.graph.types.get(scale)
            if picture is None or factors is None or picture.rank != 4 or factors.rank != 4:
                return "the shapes are not those of a picture and a factor for each channel"
            assert factors.shape is not None
            if scale in view.graph.constants or tuple(factors.shape[2:]) != (1, 1):
                return "the factor is not one for each channel that is computed"
            if not only_read_by(view, product, node):
                return "the product is read elsewhere"
            name = f"{node.name}.factor"
            total = Node("Add", [scale, f"{name}.one"], [name], {}, name)
            scaled = Node("Mul", [x, name], node.outputs, {}, node.name)
            return Patch([mul, node], [total, scaled], {f"{name}.one": np.ones((), picture.dtype.numpy)})
        return None
