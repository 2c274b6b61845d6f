"""Which operators follow each other so closely that they can be run strip by strip, see ``edgeinfer.plan.strips``.

A chain is a depthwise convolution with the convolution before it, the pointwise convolution behind it and an addition
behind that, as far as these are there and nobody else reads what one hands to the next.
"""

from __future__ import annotations

from edgeinfer.graph import FUSED, Graph, GraphView, Node
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.records import NamedTuple

_CONVOLUTIONS = {"Conv": 1, "QConv": 3}
# A product of a depthwise convolution takes as long as so many of another one.
_DEPTHWISE_COST = 4


class Link(NamedTuple):
    """A node of a chain: how many rows of its picture it reads for rows of its output.

    Attributes:
        node: the node.
        kernel: rows of the picture for one of the output.
        stride: rows of the picture from one row of the output to the next.
        pad: rows of padding above the picture.
        height: rows of the picture.
        out_height: rows of the output.
        row_bytes: bytes of a row of the output.
        row_work: about how long a row of the output takes, in products of usual convolutions.
    """

    node: Node
    kernel: int
    stride: int
    pad: int
    height: int
    out_height: int
    row_bytes: int
    row_work: int

    @property
    def is_convolution(self) -> bool:
        """Whether it is no element-wise operator."""
        return self.node.op in _CONVOLUTIONS

    def rows_for(self, first: int, last: int) -> tuple[int, int, int, int]:
        """For rows ``first`` to before ``last`` of the output: first row read, end, rows of padding above and below."""
        top = first * self.stride - self.pad
        end = (last - 1) * self.stride - self.pad + self.kernel
        start, stop = max(0, top), min(self.height, end)
        return start, stop, start - top, end - stop


def find_chains(static: Graph, context: LoweringContext) -> list[list[Link]]:
    """All chains of a graph; no node is in two of them."""
    view = GraphView(static)
    chains: list[list[Link]] = []
    taken: set[int] = set()
    for node in static.nodes:
        if not (_is_convolution(node, context) and _is_depthwise(node, context)):
            continue
        chain = [node]
        before = view.producer(node.inputs[0])
        free = before is not None and id(before) not in taken and view.sole_consumer(node.inputs[0]) is node
        if before is not None and free and _is_convolution(before, context) and not _is_depthwise(before, context):
            chain.insert(0, before)
        after = view.sole_consumer(node.outputs[0])
        if after is not None and _is_convolution(after, context) and _is_pointwise(after, context):
            chain.append(after)
            addition = view.sole_consumer(after.outputs[0])
            if addition is not None and _is_addition(addition, context):
                chain.append(addition)
        if len(chain) > 1:
            chains.append([_link(part, context) for part in chain])
            taken.update(map(id, chain))
    return chains


def _is_convolution(node: Node, context: LoweringContext) -> bool:
    """Whether it is a convolution that pads with constants, channels last, with constant weights."""
    attributes = node.attributes
    return (
        node.domain == FUSED and node.op in _CONVOLUTIONS and attributes.get("layout") == "NHWC"
        and attributes.get("pad_mode", "constant") == "constant"
        and all(factor == 1 for factor in attributes.get("upsample", ()))
        and context.constant(_weight(node)) is not None
    )  # fmt: skip


def _is_depthwise(node: Node, context: LoweringContext) -> bool:
    channels, group_channels = context.shape(_weight(node))[:2]
    return group_channels == 1 and channels == node.attributes.get("group", 1) > 1


def _is_pointwise(node: Node, context: LoweringContext) -> bool:
    attributes = node.attributes
    return (
        context.shape(_weight(node))[2:] == (1, 1) and attributes.get("group", 1) == 1
        and all(stride == 1 for stride in attributes.get("strides", ())) and not any(attributes.get("pads", ()))
    )  # fmt: skip


def _is_addition(node: Node, context: LoweringContext) -> bool:
    if node.key != (FUSED, "QAdd"):
        return False
    return context.shape(node.inputs[0]) == context.shape(node.inputs[3]) == context.shape(node.outputs[0])


def _weight(node: Node) -> str:
    return node.inputs[_CONVOLUTIONS[node.op]]


def _link(node: Node, context: LoweringContext) -> Link:
    y = node.outputs[0]
    _, out_height, out_width, out_channels = context.shape(y)
    row_elements = out_width * out_channels
    row_bytes = row_elements * context.dtype(y).itemsize
    if node.op not in _CONVOLUTIONS:
        return Link(node, 1, 1, 0, out_height, out_height, row_bytes, _DEPTHWISE_COST * row_elements)
    attributes, (_, channels, rows, columns) = node.attributes, context.shape(_weight(node))
    cost = _DEPTHWISE_COST if _is_depthwise(node, context) else 1
    return Link(
        node,
        (rows - 1) * attributes.get("dilations", [1])[0] + 1,
        attributes.get("strides", [1])[0],
        attributes.get("pads", [0])[0],
        context.shape(node.inputs[0])[1],
        out_height,
        row_bytes,
        row_elements * channels * rows * columns * cost,
    )
