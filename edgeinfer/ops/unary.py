"""Element-wise functions of one operand, activations included (ONNX operators of the same names)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.graph import DType, TensorType
from edgeinfer.ops.fused_activation import apply_activation, erf, gelu, sigmoid
from edgeinfer.ops.registry import Inference, operator, same_as_first


def _float(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The function with its result rounded to the dtype of its argument."""

    def reference(x: np.ndarray) -> np.ndarray:
        return np.asarray(function(x)).astype(x.dtype, copy=False)

    return reference


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Abs": np.abs, "Neg": np.negative, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt,
    "Reciprocal": lambda x: 1 / x, "Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "Sign": np.sign,
    "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan,
    "Sinh": np.sinh, "Cosh": np.cosh, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh,
    "Erf": erf, "Tanh": np.tanh, "Sigmoid": sigmoid, "Relu": lambda x: np.maximum(x, 0),
    "Softplus": lambda x: np.logaddexp(x, 0), "Softsign": lambda x: x / (1 + np.abs(x)),
    "HardSwish": lambda x: apply_activation(x, "HardSwish"),
    "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)), "BitwiseNot": np.invert,
}  # fmt: skip

for _name, _function in _FUNCTIONS.items():
    operator(_name, same_as_first)(_float(_function))


def _infer_bool(inference: Inference) -> list[TensorType]:
    return [TensorType(DType.BOOL, inference.shape(0))]


@operator("Not", _infer_bool)
def not_(x: np.ndarray) -> np.ndarray:
    """Logical negation."""
    return np.logical_not(x)


@operator("IsNaN", _infer_bool)
def is_nan(x: np.ndarray) -> np.ndarray:
    """Where x is not a number."""
    return np.isnan(x)


@operator("IsInf", _infer_bool)
def is_inf(x: np.ndarray, *, detect_negative: int = 1, detect_positive: int = 1) -> np.ndarray:
    """Where x is infinite, of the signs asked for."""
    return (np.isposinf(x) & bool(detect_positive)) | (np.isneginf(x) & bool(detect_negative))


@operator("LeakyRelu", same_as_first)
def leaky_relu(x: np.ndarray, *, alpha: float = 0.01) -> np.ndarray:
    """x, or alpha x where x is negative."""
    return apply_activation(x, "LeakyRelu", [alpha])


@operator("Elu", same_as_first)
def elu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """x, or alpha (exp(x) - 1) where x is negative."""
    return apply_activation(x, "Elu", [alpha])


@operator("Celu", same_as_first)
def celu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    return (np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))).astype(x.dtype)


@operator("Selu", same_as_first)
def selu(
    x: np.ndarray, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> np.ndarray:
    """gamma x, or gamma alpha (exp(x) - 1) where x is not positive."""
    return (gamma * np.where(x > 0, x, alpha * np.expm1(x))).astype(x.dtype)


@operator("HardSigmoid", same_as_first)
def hard_sigmoid(x: np.ndarray, *, alpha: float = 0.2, beta: float = 0.5) -> np.ndarray:
    """alpha x + beta, bounded to 0..1."""
    return apply_activation(x, "HardSigmoid", [alpha, beta])


@operator("Swish", same_as_first)
def swish(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """x sigmoid(alpha x)."""
    return (x * sigmoid(x * x.dtype.type(alpha))).astype(x.dtype)


@operator("ThresholdedRelu", same_as_first)
def thresholded_relu(x: np.ndarray, *, alpha: float = 1.0) -> np.ndarray:
    """x where it is above alpha, else 0."""
    return np.where(x > alpha, x, 0).astype(x.dtype)


@operator("Shrink", same_as_first)
def shrink(x: np.ndarray, *, bias: float = 0.0, lambd: float = 0.5) -> np.ndarray:
    """x moved towards 0 by bias outside -lambd..lambd, 0 inside."""
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0)).astype(x.dtype)


@operator("Gelu", same_as_first)
def gelu_operator(x: np.ndarray, *, approximate: str = "none") -> np.ndarray:
    """Gaussian error linear unit, exact or by the tanh formula."""
    if approximate == "tanh":
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        return (0.5 * x * (1 + np.tanh(inner))).astype(x.dtype)
    return gelu(x).astype(x.dtype)


@operator("Clip", same_as_first)
def clip(x: np.ndarray, minimum: np.ndarray | None = None, maximum: np.ndarray | None = None) -> np.ndarray:
    """x bounded from below, then from above."""
    if minimum is not None:
        x = np.maximum(x, minimum)
    if maximum is not None:
        x = np.minimum(x, maximum)
    return x


@operator("Identity", same_as_first)
def identity(x: np.ndarray) -> np.ndarray:
    """x itself."""
    return x


def _infer_dropout(inference: Inference) -> list[TensorType]:
    return [inference.type(0), TensorType(DType.BOOL, inference.shape(0))]


@operator("Dropout", _infer_dropout)
def dropout(
    x: np.ndarray, ratio: np.ndarray | None = None, training_mode: np.ndarray | None = None, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """x itself and a mask of ones: inference does not drop."""
    if training_mode is not None and bool(training_mode):
        raise ValueError("Dropout in training mode is not supported")
    return x, np.ones(x.shape, bool)


def _infer_cast(inference: Inference) -> list[TensorType]:
    return [TensorType(cast_target(inference.attribute("to")), inference.shape(0))]


# Element type codes of ONNX (TensorProto.DataType), as the attribute `to` of Cast holds them.
CAST_CODES = {
    1: DType.FLOAT32, 2: DType.UINT8, 3: DType.INT8, 4: DType.UINT16, 5: DType.INT16, 6: DType.INT32, 7: DType.INT64,
    9: DType.BOOL, 10: DType.FLOAT16, 11: DType.FLOAT64, 12: DType.UINT32, 13: DType.UINT64,
}  # fmt: skip


def cast_target(code: int) -> DType:
    """The dtype of a Cast's ``to`` attribute."""
    if code not in CAST_CODES:
        raise ValueError(f"Cast to element type {code} is not supported")
    return CAST_CODES[code]


@operator("Cast", _infer_cast)
def cast(x: np.ndarray, *, to: int, saturate: int = 1, round_mode: str = "up") -> np.ndarray:
    """x with its elements converted."""
    return x.astype(cast_target(to).numpy)


def _infer_cast_like(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(1), inference.shape(0))]


@operator("CastLike", _infer_cast_like)
def cast_like(x: np.ndarray, target: np.ndarray, *, saturate: int = 1) -> np.ndarray:
    """x converted to the dtype of another tensor."""
    return x.astype(target.dtype)
