"""Element-wise operators of two or more operands, with broadcasting."""

from __future__ import annotations

from functools import reduce

import numpy as np

from edgeinfer.graph import FUSED, DType, TensorType
from edgeinfer.ops.broadcast import broadcast_shapes, infer_broadcast
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.registry import Inference, operator


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; integers are divided towards zero."""
    if a.dtype.kind in "iu":
        return (np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))).astype(a.dtype)
    return np.divide(a, b)


def _binary(function):  # type: ignore[no-untyped-def]
    def reference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(function(a, b))

    return reference


for _name, _function in {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": divide}.items():
    operator(_name, infer_broadcast())(_binary(_function))

for _name, _function in {
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor, "Equal": np.equal, "Less": np.less,
    "Greater": np.greater, "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal,
}.items():  # fmt: skip
    operator(_name, infer_broadcast(DType.BOOL))(_binary(_function))

for _name, _function in {
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}.items():  # fmt: skip
    operator(_name, infer_broadcast())(_binary(_function))


@operator("Pow", infer_broadcast())
def power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a to the power of b, in the dtype of a."""
    return np.power(a, b.astype(np.result_type(a, b)) if a.dtype.kind == "f" else b).astype(a.dtype)


@operator("Mod", infer_broadcast())
def modulo(a: np.ndarray, b: np.ndarray, *, fmod: int = 0) -> np.ndarray:
    """The remainder, with the sign of b (or of a if ``fmod``)."""
    return np.fmod(a, b) if fmod else np.mod(a, b)


@operator("PRelu", infer_broadcast())
def prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """x, or slope x where x is negative."""
    return np.where(x < 0, x * slope, x).astype(x.dtype)


@operator("BitShift", infer_broadcast())
def bit_shift(a: np.ndarray, b: np.ndarray, *, direction: str) -> np.ndarray:
    """a shifted by b bits to the LEFT or RIGHT."""
    return np.left_shift(a, b) if direction == "LEFT" else np.right_shift(a, b)


def _variadic(function):  # type: ignore[no-untyped-def]
    def reference(*operands: np.ndarray) -> np.ndarray:
        return np.asarray(reduce(function, operands))

    return reference


for _name, _function in {"Max": np.maximum, "Min": np.minimum, "Sum": np.add}.items():
    operator(_name, infer_broadcast())(_variadic(_function))


@operator("Mean", infer_broadcast())
def mean(*operands: np.ndarray) -> np.ndarray:
    """The mean of all operands."""
    return (reduce(np.add, operands) / len(operands)).astype(operands[0].dtype)


def _infer_where(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(1), broadcast_shapes([inference.shape(index) for index in range(3)]))]


@operator("Where", _infer_where)
def where(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a where the condition holds, else b."""
    return np.where(condition, a, b)


@operator("Add", infer_broadcast(), domain=FUSED)
def fused_add(
    a: np.ndarray, b: np.ndarray, *, activation: str = "", activation_parameters: list[float] | None = None
) -> np.ndarray:
    """``act(a + b)``."""
    return apply_activation(a + b, activation, activation_parameters or [])


@operator("Mul", infer_broadcast(), domain=FUSED)
def fused_mul(
    a: np.ndarray, b: np.ndarray, *, activation: str = "", activation_parameters: list[float] | None = None
) -> np.ndarray:
    """``act(a * b)``."""
    return apply_activation(a * b, activation, activation_parameters or [])
