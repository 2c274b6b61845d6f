"""Channels-last layout: spatial operators get pictures as [N, H, W, C], with Transposes only at the borders.

Before: ``y[n,8,h,w] = Conv(x[n,3,h,w])``
After:  ``x'[n,h,w,3] = Transpose(x); y'[n,h,w,8] = edgeinfer.Conv(x', layout="NHWC"); y = Transpose(y')``

Nodes are visited in order. Each value may have a channels-last twin; operators that do not care for the layout
follow their inputs, so that a Transpose back appears only where an operator or an output needs the original.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, ONNX, DType, Graph, Node, TensorType
from edgeinfer.ops import find_operator
from edgeinfer.ops.spatial import make_window
from edgeinfer.records import altered

TO_LAST = (0, 2, 3, 1)
TO_FIRST = (0, 3, 1, 2)

_SPATIAL = {
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
    "InstanceNormalization", "BatchNormalization", "Resize", "DepthToSpace", "SpaceToDepth", "LRN", "QConv",
    "QAveragePool", "QGlobalAveragePool", "QInstanceNormalization", "QConvTranspose",
}  # fmt: skip
_UNARY = {
    "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Tan", "Asin",
    "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Erf", "Tanh", "Sigmoid", "Relu", "Softplus", "Softsign",
    "HardSwish", "Mish", "Not", "IsNaN", "IsInf", "LeakyRelu", "Elu", "Celu", "Selu", "HardSigmoid", "Swish",
    "ThresholdedRelu", "Shrink", "Gelu", "Clip", "Identity", "Cast", "Dropout", "QTable",
}  # fmt: skip
_BROADCASTING = {
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "PRelu", "And", "Or", "Xor", "Equal", "Less",
    "Greater", "LessOrEqual", "GreaterOrEqual", "Mod", "Where",
}  # fmt: skip
# Operators with a scale that may hold for all elements.
_QUANTIZING = {"QuantizeLinear", "DequantizeLinear"}
_QUANTIZED_BROADCASTING = {"QAdd", "QMul"}
_ALONG_AXIS = {"Concat", "Split", "Softmax", "LogSoftmax", "QSoftmax"}
_REDUCTIONS = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"}


def to_channels_last(graph: Graph) -> Graph:
    """The graph with spatial operators in NHWC layout; see the module's text."""
    return _Relayout(graph).run()


class _Relayout:
    """One pass over the nodes of a graph.

    Attributes:
        twins: value name to the name of its channels-last twin.
        originals: values of the old graph that exist in the new one in their own layout.
    """

    def __init__(self, graph: Graph) -> None:
        self.old = graph
        self.new = Graph(
            graph.name, list(graph.inputs), list(graph.outputs), [], dict(graph.types), dict(graph.constants),
            dict(graph.metadata),
        )  # fmt: skip
        self.twins: dict[str, str] = {}
        self.originals = {*graph.inputs, *graph.constants}

    def run(self) -> Graph:
        """Visit all nodes, then provide the outputs."""
        for node in self.old.nodes:
            if not (self._spatial(node) or self._following(node)):
                self._keep(node)
        for name in self.old.outputs:
            self._original(name)
        return self.new

    def _rank(self, name: str) -> int | None:
        known = self.old.types.get(name)
        return known.rank if known else None

    def _keep(self, node: Node) -> None:
        for name in node.inputs:
            self._original(name)
        self.new.nodes.append(node)
        self.originals.update(node.outputs)

    def _original(self, name: str) -> str:
        """Make sure that a value exists in its own layout."""
        if name and name not in self.originals and name in self.twins:
            self._transpose(self.twins[name], name, TO_FIRST)
            self.originals.add(name)
        return name

    def _twin(self, name: str) -> str:
        """The channels-last twin of a value of rank 4, made by a Transpose if need be."""
        if name not in self.twins:
            twin = self._declare(name)
            constant = self.old.constants.get(name)
            if constant is not None:
                self.new.constants[twin] = np.ascontiguousarray(constant.transpose(TO_LAST))
            else:
                self._transpose(name, twin, TO_LAST)
        return self.twins[name]

    def _declare(self, name: str) -> str:
        """Name and type of the twin of a value."""
        twin = f"{name}/nhwc"
        self.twins[name] = twin
        known = self.old.types.get(name)
        if known is not None:
            shape = known.shape
            last = None if shape is None or len(shape) != 4 else tuple(shape[axis] for axis in TO_LAST)
            self.new.types[twin] = TensorType(known.dtype, last)
        return twin

    def _transpose(self, source: str, target: str, perm: tuple[int, ...]) -> None:
        name = f"{target}/transpose"
        self.new.nodes.append(Node("Transpose", [source], [target], {"perm": list(perm)}, name))

    def _emit(self, node: Node, inputs: list[str], attributes: dict, domain: str) -> None:
        outputs = [self._declare(name) if name else "" for name in node.outputs]
        self.new.nodes.append(Node(node.op, inputs, outputs, attributes, node.name, domain))

    def _spatial(self, node: Node) -> bool:
        """Rewrite an operator on pictures."""
        if node.op not in _SPATIAL or node.domain not in (ONNX, FUSED) or self._rank(node.inputs[0]) != 4:
            return False
        if any(node.outputs[1:]) or node.attributes.get("layout") == "NHWC":
            return False
        attributes = dict(node.attributes)
        if node.op in ("Conv", "ConvTranspose") and (
            self._rank(node.inputs[1]) != 4 or not self._explicit_pads(node, attributes)
        ):
            return False
        rest = list(node.inputs[1:])
        if node.op in ("Conv", "InstanceNormalization") and len(rest) >= 3 and rest[2]:
            rest[2] = self._twin(rest[2])
        # A Resize's roi, scales and sizes keep the original order of axes.
        if node.op == "QInstanceNormalization" and node.input(7):
            rest[6] = self._twin(rest[6])
        inputs = [self._twin(node.inputs[0]), *rest]
        for name in rest:
            self._original(name) if name in self.old.types else None
        attributes["layout"] = "NHWC"
        operator = find_operator((FUSED, node.op))
        if operator is None or operator.unknown_attributes(altered(node, attributes=attributes)):
            return False
        self._emit(node, inputs, attributes, FUSED)
        return True

    def _explicit_pads(self, node: Node, attributes: dict) -> bool:
        """Replace ``auto_pad`` by pads; False where it needs sizes that are not known."""
        auto_pad = attributes.pop("auto_pad", "NOTSET")
        if auto_pad == "NOTSET":
            return not attributes.get("output_shape")
        x, weight = self.old.types[node.inputs[0]].shape, self.old.types[node.inputs[1]].shape
        if node.op == "ConvTranspose" or x is None or weight is None:
            return False
        try:
            window = make_window(
                [int(dim) for dim in weight[2:]], attributes.get("strides"), attributes.get("dilations"), None,
                auto_pad, x[2:],
            )  # fmt: skip
        except ValueError:
            return False
        attributes["pads"] = [before for before, _ in window.pads] + [after for _, after in window.pads]
        return True

    def _following(self, node: Node) -> bool:
        """Let an operator that does not care for the layout follow its inputs; False if it stays as it is."""
        pictures = [name for name in node.inputs if name in self.twins and name not in self.old.constants]
        if not pictures or node.domain not in (ONNX, FUSED):
            return False
        if node.op in _UNARY or (node.op in _QUANTIZING and self._per_tensor(node)):
            if node.inputs[0] not in self.twins or any(node.outputs[1:]):
                return False
            for name in node.inputs[1:]:
                self._original(name)
            self._emit(node, [self._twin(node.inputs[0]), *node.inputs[1:]], dict(node.attributes), node.domain)
            return True
        if node.op in _BROADCASTING:
            return self._broadcasting(node)
        if node.op in _QUANTIZED_BROADCASTING:
            return self._quantized_broadcasting(node)
        if node.op in _ALONG_AXIS:
            return self._along_axis(node)
        if node.op in _REDUCTIONS and node.domain == ONNX:
            return self._reduction(node)
        if node.op in ("Slice", "Pad") and node.domain == ONNX:
            return self._axes_input(node)
        return False

    def _per_tensor(self, node: Node) -> bool:
        """Whether one scale holds for all elements."""
        scale = self.old.types.get(node.inputs[1])
        return scale is not None and scale.shape is not None and set(scale.shape) <= {1}

    def _quantized_broadcasting(self, node: Node) -> bool:
        """Operators of two tensors, each with scale and zero point behind it."""
        operands = [self._operand(node.inputs[0]), self._operand(node.inputs[3])]
        if not all(isinstance(operand, str) for operand in operands):
            return False
        inputs = [str(operands[0]), *node.inputs[1:3], str(operands[1]), *node.inputs[4:]]
        self._emit(node, inputs, dict(node.attributes), node.domain)
        return True

    def _broadcasting(self, node: Node) -> bool:
        operands = [self._operand(name) for name in node.inputs]
        if any(operand is None for operand in operands):
            return False
        inputs = [operand if isinstance(operand, str) else self._add_constant(*operand) for operand in operands]  # type: ignore[misc]
        self._emit(node, inputs, dict(node.attributes), node.domain)
        return True

    def _operand(self, name: str) -> str | tuple[str, np.ndarray] | None:
        """An operand that broadcasts with channels-last pictures; a constant as (name, array); None if it cannot."""
        rank = self._rank(name)
        constant = self.old.constants.get(name)
        if constant is not None and constant.ndim <= 4:
            if constant.size == 1:
                return name
            full = constant.reshape((1,) * (4 - constant.ndim) + constant.shape)
            return f"{name}/nhwc", full.transpose(TO_LAST)
        if rank == 4:
            return self._twin(name)
        known = self.old.types.get(name)
        return name if known is not None and known.shape is not None and set(known.shape) <= {1} else None

    def _add_constant(self, name: str, array: np.ndarray) -> str:
        self.new.constants[name] = np.ascontiguousarray(array)
        self.new.types[name] = TensorType(DType.of(array), tuple(array.shape))
        return name

    def _along_axis(self, node: Node) -> bool:
        data = node.inputs if node.op == "Concat" else node.inputs[:1]
        if any(self._rank(name) != 4 for name in data):
            return False
        default = 0 if node.op == "Split" else -1
        axis = TO_LAST.index(node.attributes.get("axis", default) % 4)
        inputs = [self._twin(name) for name in data] + [self._original(name) for name in node.inputs[len(data) :]]
        self._emit(node, inputs, {**node.attributes, "axis": axis}, node.domain)
        return True

    def _reduction(self, node: Node) -> bool:
        axes = self.old.constants.get(node.input(1)) if node.input(1) else None
        if axes is None or not axes.size or not node.attributes.get("keepdims", 1) or self._rank(node.inputs[0]) != 4:
            return False
        remapped = np.array(sorted(TO_LAST.index(int(axis) % 4) for axis in axes), np.int64)
        name = self._add_constant(f"{node.name}/nhwc.axes", remapped)
        self._emit(node, [self._twin(node.inputs[0]), name], dict(node.attributes), ONNX)
        return True

    def _axes_input(self, node: Node) -> bool:
        """Slice and Pad: their input 3 lists the axes."""
        if self._rank(node.inputs[0]) != 4:
            return False
        axes = self.old.constants.get(node.input(3)) if node.input(3) else np.arange(4)
        counted = self.old.constants.get(node.inputs[1])
        if axes is None or counted is None:
            return False
        axes = axes[: counted.size] if node.op == "Slice" else axes
        remapped = np.array([TO_LAST.index(int(axis) % 4) for axis in axes], np.int64)
        name = self._add_constant(f"{node.name}/nhwc.axes", remapped)
        rest = [self._original(item) for item in node.inputs[1:]]
        rest += [""] * (3 - len(rest))
        rest[2] = name
        self._emit(node, [self._twin(node.inputs[0]), *rest], dict(node.attributes), ONNX)
        return True
