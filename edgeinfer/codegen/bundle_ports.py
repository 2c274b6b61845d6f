"""What a bundle says of its inputs and outputs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeinfer.errors import PlanError
from edgeinfer.graph import DType, Graph, Node
from edgeinfer.ops import find_operator
from edgeinfer.plan.plan import Plan

MAX_RANK = 8

# Operators whose result holds elements of their first input.
_MOVING = {
    "DepthToSpace", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Squeeze",
    "Transpose", "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class BundlePort:
    """An input or output of a bundle.

    Attributes:
        name: its name in the model.
        dtype: type of its elements.
        shape: its sizes.
        scale: real value = scale * (element - zero_point); 0.0 if elements are not quantized.
        zero_point: see ``scale``.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def to_json(self) -> dict[str, Any]:
        """The port as plain JSON values."""
        return {
            "name": self.name,
            "dtype": self.dtype.value,
            "shape": list(self.shape),
            "scale": self.scale,
            "zero_point": self.zero_point,
        }


def bundle_ports(graph: Graph, plan: Plan) -> tuple[list[BundlePort], list[BundlePort]]:
    """The inputs and outputs of a plan, with quantization parameters from the graph that it was made of.

    Raises:
        PlanError: if one has more than 8 dimensions.
    """
    readers = {name: (node, index) for node in graph.nodes for index, name in reversed(list(enumerate(node.inputs)))}
    makers = {name: node for node in graph.nodes for name in node.outputs}
    inputs = [_port(name, plan, _input_quantization(name, graph, readers)) for name in plan.inputs]
    bound = zip(plan.outputs, plan.bindings, strict=True)
    outputs = [_port(name, plan, _output_quantization(name, graph, makers), binding) for name, binding in bound]
    return inputs, outputs


def _port(name: str, plan: Plan, quantization: tuple[float, int], place: str = "") -> BundlePort:
    tensor = plan.tensors[place or name]
    if len(tensor.shape) > MAX_RANK:
        raise PlanError(f"'{name}' has {len(tensor.shape)} dimensions; a bundle's inputs and outputs have up to 8")
    shape = tensor.shape
    if place:
        shape = tuple(int(dim) for dim in plan.tensors[name].type.shape or ()) if name in plan.tensors else shape
    return BundlePort(name, tensor.type.dtype, shape, *quantization)


def _parameter_names(node: Node) -> Sequence[str]:
    known = find_operator(node.key)
    return list(inspect.signature(known.reference).parameters) if known else []


def _constants(graph: Graph, node: Node, value: str, parameters: Sequence[str]) -> tuple[float, int]:
    """Scale and zero point of the parameter ``value`` of a node; (0.0, 0) unless they are single constants."""
    if f"{value}_scale" not in parameters:
        return 0.0, 0
    scale = graph.constants.get(node.input(parameters.index(f"{value}_scale")))
    zero_point = graph.constants.get(node.input(parameters.index(f"{value}_zero_point")), np.zeros((), np.int64))
    if scale is None or scale.size != 1 or zero_point.size != 1:
        return 0.0, 0
    return float(scale.reshape(())), int(zero_point.reshape(()))


def _input_quantization(name: str, graph: Graph, readers: dict[str, tuple[Node, int]]) -> tuple[float, int]:
    if graph.types[name].dtype not in (DType.INT8, DType.UINT8):
        return 0.0, 0
    while name in readers:
        node, index = readers[name]
        if node.op not in _MOVING:
            parameters = _parameter_names(node)
            return _constants(graph, node, parameters[index], parameters) if index < len(parameters) else (0.0, 0)
        name = node.outputs[0]
    return 0.0, 0


def _output_quantization(name: str, graph: Graph, makers: dict[str, Node]) -> tuple[float, int]:
    known = graph.types.get(name)
    if known is None or known.dtype not in (DType.INT8, DType.UINT8):
        return 0.0, 0
    while name in makers:
        node = makers[name]
        if node.op not in _MOVING:
            return _constants(graph, node, "y", _parameter_names(node))
        name = node.inputs[0]
    return 0.0, 0
