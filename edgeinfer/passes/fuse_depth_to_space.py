"""Rearrangements between channels and pixels spelled out become one operator."""

from __future__ import annotations

from edgeinfer.graph import Dim, GraphView, Node, Shape
from edgeinfer.graph.dims import multiply
from edgeinfer.passes.pass_base import Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.patterns import made_by, only_read_by

# Order of the six axes after the Transpose, with the places of block, channels and picture before it.
_TO_SPACE = {(0, 3, 4, 1, 5, 2): "DCR", (0, 1, 4, 2, 5, 3): "CRD"}
_TO_DEPTH = (0, 3, 5, 1, 2, 4)


class FuseDepthToSpace(Rule):
    """Pixel shuffle (Shi et al. 2016) and its inverse become one operator.

    Before: ``y = Reshape(Transpose(Reshape(x, [N, b, b, C, H, W]), [0, 3, 4, 1, 5, 2]), [N, C, H * b, W * b])``
    After:  ``y = DepthToSpace(x, blocksize=b, mode="DCR")``

    Before: ``y = Reshape(Transpose(Reshape(x, [N, C, b, b, H, W]), [0, 1, 4, 2, 5, 3]), [N, C, H * b, W * b])``
    After:  ``y = DepthToSpace(x, blocksize=b, mode="CRD")``

    Before: ``y = Reshape(Transpose(Reshape(x, [N, C, H, b, W, b]), [0, 3, 5, 1, 2, 4]), [N, b * b * C, H, W])``
    After:  ``y = SpaceToDepth(x, blocksize=b)``
    """

    anchors = frozenset({"Transpose"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match around a Transpose of six axes."""
        perm = tuple(node.attributes.get("perm", ()))
        before = made_by(view, node.inputs[0], "Reshape")
        after = view.sole_consumer(node.outputs[0])
        if (perm not in _TO_SPACE and perm != _TO_DEPTH) or before is None or after is None or after.op != "Reshape":
            return None
        if not only_read_by(view, before.outputs[0], node):
            return "the reshaped value is read elsewhere"
        names = before.inputs[0], before.outputs[0], after.outputs[0]
        known = [view.graph.types.get(name) for name in names]
        shapes = [value.shape for value in known if value is not None and value.shape is not None]
        if len(shapes) != 3:
            return "the shapes are not known"
        x, split, result = shapes
        if len(x) != 4 or len(result) != 4:
            return None
        mode = _TO_SPACE.get(perm, "")
        expected = _expected(split, mode)
        if expected is None or (x, result) != expected[1:]:
            return f"the shapes {list(x)}, {list(split)}, {list(result)} do not belong to blocks of pixels"
        attributes = {"blocksize": expected[0], "mode": mode} if mode else {"blocksize": expected[0]}
        op = "DepthToSpace" if mode else "SpaceToDepth"
        return Patch([before, node, after], [Node(op, [names[0]], after.outputs, attributes, after.name)])


def _expected(split: Shape, mode: str) -> tuple[int, Shape, Shape] | None:
    """Block size, shape before and shape after that go with a shape of six axes."""
    n, *rest = split
    if mode == "DCR":
        block, other, c, h, w = rest
    elif mode == "CRD":
        c, block, other, h, w = rest
    else:
        c, h, block, w, other = rest
    if not isinstance(block, int) or block != other:
        return None
    deep: tuple[Dim, ...] = (n, multiply(c, block * block), h, w)
    wide: tuple[Dim, ...] = (n, c, multiply(h, block), multiply(w, block))
    return (block, deep, wide) if mode else (block, wide, deep)
