"""Which nodes of a float graph can run on 8-bit integers."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import FUSED, ONNX, Graph, GraphView, Node
from edgeinfer.ops.infer import infer_types
from edgeinfer.passes.patterns import axes_of

# Fewer multiply-adds do not pay for turning numbers into integers and back.
SMALLEST_MACS = 20_000
# Operators that only give elements another place or choose among them: the result has the scale of the input.
MOVING = frozenset({
    "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "DepthToSpace", "SpaceToDepth",
    "Identity",
})  # fmt: skip
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
# All that can be a layer.
LINEAR = CONVOLUTIONS | {"MatMul", "Gemm"}
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_FUNCTIONS = frozenset({
    "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Gelu", "Swish",
})  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product with constant weights.

    Attributes:
        node: the node.
        macs: its multiply-adds for the calibration shapes.
        weight: name of the weights.
        axis: their axis of output channels.
    """

    node: Node
    macs: int
    weight: str
    axis: int

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name


def find_layers(graph: Graph, shapes: dict[str, tuple[int, ...]]) -> tuple[list[Layer], dict[str, str]]:
    """The layers that can be quantized in order, and why other convolutions and products cannot be, by node name.

    Args:
        graph: the float graph.
        shapes: shapes of all float32 values for the calibration data.
    """
    layers, reasons = [], {}
    for node in graph.nodes:
        if node.op not in LINEAR:
            continue
        found = _layer(graph, node, shapes)
        if isinstance(found, str):
            reasons[node.name] = found
        else:
            layers.append(found)
    return layers, reasons


def _layer(graph: Graph, node: Node, shapes: dict[str, tuple[int, ...]]) -> Layer | str:
    if node.op == "ConvTranspose" and node.attributes.get("group", 1) != 1:
        return "transposed convolutions of groups are not quantized"
    if node.input(3):
        return "a residual and an activation other than Relu or Clip are fused into it"
    weight = graph.constants.get(node.inputs[1])
    if weight is None:
        return "the weights are computed at run time"
    if weight.dtype != np.float32:
        return f"the weights are {weight.dtype}"
    if not np.isfinite(weight).all():
        return "the weights hold NaN or infinity"
    if node.input(2) and node.input(2) not in graph.constants:
        return "the bias is computed at run time"
    if weight.ndim != (4 if node.op in CONVOLUTIONS else 2):
        return "the convolution is not two-dimensional" if node.op in CONVOLUTIONS else "the weights are no matrix"
    attributes = node.attributes
    if attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return "the first factor is transposed, or alpha or beta are not 1"
    axis = 0 if node.op == "Conv" or attributes.get("transB") else 1
    macs = int(np.prod(shapes[node.outputs[0]])) * weight.size // weight.shape[axis]
    if node.op == "ConvTranspose":
        macs //= int(np.prod(attributes.get("strides", 1)))
    if macs < SMALLEST_MACS:
        return f"{macs:,} multiply-adds are too few to pay"
    return Layer(node, macs, node.inputs[1], axis)


def chosen_nodes(graph: Graph, layers: set[str], kept: Set[str] = frozenset()) -> set[str]:
    """Names of all nodes that shall run on integers: the given layers, and what lies between them but those kept.

    An operator without weights joins where its result is read by nodes that run on integers; a sum, product, pool or
    concatenation only where all it reads are integers, for it is no faster otherwise.
    """
    view = GraphView(graph)
    candidates = {
        node.name for node in graph.nodes if node.name in layers or (node.name not in kept and _can_follow(view, node))
    }
    while True:
        stays = {node.name for node in graph.nodes if node.name in candidates and _pays(view, node, candidates, layers)}
        if stays == candidates:
            return stays
        candidates = stays


def data_inputs(node: Node) -> list[str]:
    """The inputs of a chosen node that are rounded to integers.

    A normalisation reads its picture as float32: it would make the rounding errors of flat channels large.
    """
    if node.op in ("Add", "Mul"):
        return list(node.inputs)
    if node.op == "Concat":
        return list(node.inputs)
    if node.op == "InstanceNormalization":
        return node.inputs[3:4]
    return node.inputs[:1]


def _can_follow(view: GraphView, node: Node) -> bool:
    if node.domain not in (ONNX, FUSED) or len(node.outputs) != 1:
        return False
    if node.op in ("Add", "Mul"):
        constant = any(name in view.graph.constants for name in node.inputs)
        return not constant and node.domain == ONNX
    if node.op == "InstanceNormalization":
        known = view.graph.types.get(node.inputs[0])
        return known is not None and known.rank == 4
    if node.op == "ReduceMean":
        known = view.graph.types.get(node.inputs[0])
        spatial = known is not None and known.rank == 4 and axes_of(view, node) == [2, 3]
        return spatial and bool(node.attributes.get("keepdims", 1))
    if node.op == "Resize":
        return node.attributes.get("mode", "nearest") == "nearest"
    if node.op == "Pad":
        return node.attributes.get("mode", "constant") in ("reflect", "edge")
    return node.domain == ONNX and node.op in MOVING | _POOLS | _FUNCTIONS | {"Concat"}


def _pays(view: GraphView, node: Node, chosen: set[str], layers: set[str]) -> bool:
    if node.name in layers:
        return True
    if view.is_output(node.outputs[0]):
        return False
    readers = [reader for reader in view.consumers.get(node.outputs[0], []) if reader.name in chosen]
    if not any(node.outputs[0] in data_inputs(reader) for reader in readers if reader.op != "InstanceNormalization"):
        return False
    if node.op == "InstanceNormalization":
        return True
    made = [view.producer(name) for name in data_inputs(node)]
    return all(producer is not None and producer.name in chosen for producer in made)


def typed(graph: Graph) -> Graph:
    """The graph with the types that shape inference finds."""
    result = graph.copy()
    result.types = infer_types(graph)[0]
    return result
