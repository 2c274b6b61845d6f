"""The registry of operators: for each its shape inference and its NumPy reference.

A reference is a plain function whose signature is the operator's schema: positional parameters are
the inputs (``None`` for one left out), keyword-only parameters the attributes with ONNX's defaults.
Two keyword-only names are reserved: ``output_count`` receives the number of outputs of the node, and
``run_graph`` a function ``(body, {name: array}) -> list[array]`` for operators that hold bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from edgeinfer.errors import ShapeError
from edgeinfer.graph import ONNX, DType, Node, Shape, TensorType
from edgeinfer.name_index import NameIndex
from edgeinfer.records import NamedTuple

# Names of the operators that each module of this folder registers, of whatever domain.
INDEX = NameIndex(
    "edgeinfer.ops",
    {
        "binary": "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual"
        " Max Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor",
        "channels_last": "AveragePool BatchNormalization DepthToSpace GlobalAveragePool GlobalMaxPool LRN MaxPool"
        " Resize SpaceToDepth",
        "conv": "Conv ConvTranspose",
        "matmul": "Gemm MatMul",
        "normalization": "BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization",
        "pad": "Pad",
        "pool": "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
        "quantize": "DequantizeLinear DynamicQuantizeLinear QuantizeLinear",
        "quantized_elementwise": "QAdd QMul QTable",
        "quantized_normalization": "QInstanceNormalization",
        "quantized_pool": "QAveragePool QGlobalAveragePool",
        "quantized_products": "ConvInteger MatMulInteger QConv QConvTranspose QMatMul",
        "quantized_softmax": "QSoftmax",
        "reduce": "ArgMax ArgMin CumSum Hardmax LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax"
        " ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax",
        "resize": "Resize",
        "shape": "ConstantOfShape Expand Flatten Range Reshape Shape Size Squeeze Tile Transpose Unsqueeze",
        "slicing": "Concat DepthToSpace Gather GatherElements Slice SpaceToDepth Split",
        "unary": "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Dropout Elu Erf"
        " Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round"
        " Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu",
    },
)

RESERVED = ("output_count", "run_graph")

Reference = Callable[..., Any]


class Inference:
    """What shape inference may know of one node.

    Attributes:
        node: the node.
        inputs: types of its inputs; None for an optional input left out, or one of unknown type.
        constants: contents of those inputs that are known, by position.
    """

    def __init__(
        self, node: Node, inputs: list[TensorType | None], constants: dict[int, np.ndarray] | None = None
    ) -> None:
        self.node = node
        self.inputs = inputs
        self.constants = {} if constants is None else constants

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or the default if the node does not carry it."""
        return self.node.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether input ``index`` is present."""
        return bool(self.node.input(index))

    def type(self, index: int) -> TensorType:
        """The type of input ``index``, which must be present and of known dtype."""
        known = self.inputs[index] if index < len(self.inputs) else None
        if known is None:
            raise self.error(f"input {index} is missing or of unknown type")
        return known

    def dtype(self, index: int = 0) -> DType:
        """The dtype of input ``index``."""
        return self.type(index).dtype

    def shape(self, index: int = 0) -> Shape | None:
        """The shape of input ``index``, None if its rank is unknown."""
        return self.type(index).shape

    def constant(self, index: int) -> np.ndarray | None:
        """The contents of input ``index`` if they are known."""
        return self.constants.get(index)

    def error(self, message: str) -> ShapeError:
        """An error that names this node, to be raised by the caller."""
        return ShapeError(f"{self.node}: {message}")


Infer = Callable[[Inference], Sequence[TensorType]]


class Operator(NamedTuple):
    """One operator of one domain: reference, shape inference, known attributes."""

    domain: str
    name: str
    reference: Reference
    infer: Infer
    attributes: frozenset[str]
    reserved: frozenset[str]

    def unknown_attributes(self, node: Node) -> list[str]:
        """Names of attributes of a node that this operator does not know."""
        return sorted(set(node.attributes) - self.attributes)


_OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(
    name: str, infer: Infer, domain: str = ONNX, attributes: Collection[str] | None = None
) -> Callable[[Reference], Reference]:
    """Register the decorated reference function as operator ``name`` with its shape inference.

    Its keyword-only parameters are the operator's attributes, unless they are given.
    """

    def register(reference: Reference) -> Reference:
        code = reference.__code__
        own = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        keywords = set(own if attributes is None else attributes)
        key = (domain, name)
        if key in _OPERATORS:
            raise ValueError(f"operator {key} is registered twice")
        _OPERATORS[key] = Operator(
            domain, name, reference, infer, frozenset(keywords - set(RESERVED)), frozenset(keywords & set(RESERVED))
        )
        return reference

    return register


def find_operator(key: tuple[str, str]) -> Operator | None:
    """The operator of a (domain, name) key, None if there is none."""
    INDEX.require(key[1])
    return _OPERATORS.get(key)


def operators() -> dict[tuple[str, str], Operator]:
    """All operators by (domain, name)."""
    INDEX.require_all()
    return dict(_OPERATORS)


def same_as_first(inference: Inference) -> list[TensorType]:
    """Shape inference of operators whose output is like their first input."""
    return [inference.type(0)]
