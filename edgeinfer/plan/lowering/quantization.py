"""Scales and zero points of 8-bit tensors as params fields."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import DType, Node
from edgeinfer.graph.dtypes import INTEGER_RANGES
from edgeinfer.plan.lowering.context import LoweringContext, NotNative
from edgeinfer.records import NamedTuple

BYTES = (DType.UINT8, DType.INT8)


def constant_input(node: Node, context: LoweringContext, index: int) -> np.ndarray:
    """Contents of a constant input; NotNative if it is computed at run time."""
    array = context.constant(node.input(index))
    if array is None:
        raise NotNative(f"input {index} '{node.input(index)}' is computed at run time")
    return array


def scalar_input(node: Node, context: LoweringContext, index: int) -> float:
    """The one value of a constant input; NotNative if there are more."""
    array = constant_input(node, context, index)
    if array.size != 1:
        raise NotNative(f"input {index} '{node.input(index)}' has {array.size} values, one fits")
    return array.reshape(-1)[0].item()


def require_bytes(context: LoweringContext, *names: str) -> None:
    """Raise NotNative unless all named tensors hold 8-bit integers."""
    for name in names:
        if context.dtype(name) not in BYTES:
            raise NotNative(f"'{name}' is {context.dtype(name).value}; there are only 8-bit kernels")


class ByteScale(NamedTuple):
    """Scale and zero point of one 8-bit tensor.

    Attributes:
        scale: float32.
        zero_point: the zero point.
        signed: whether the bytes are signed.
    """

    scale: float
    zero_point: int
    signed: bool

    @property
    def flip(self) -> int:
        """What a kernel xors bytes with, so that they are unsigned."""
        return 128 if self.signed else 0

    @property
    def unsigned_zero_point(self) -> int:
        """The zero point of the bytes as unsigned ones."""
        return self.zero_point + self.flip

    @property
    def bounds(self) -> dict[str, int | float | str]:
        """Params fields ``low`` and ``high``: the ends of the integers' range less the zero point."""
        low, high = INTEGER_RANGES[DType.INT8 if self.signed else DType.UINT8]
        return {"low": float(low - self.zero_point), "high": float(high - self.zero_point)}


def byte_scale(node: Node, context: LoweringContext, scale: int, tensor: str) -> ByteScale:
    """The constant inputs ``scale`` and ``scale + 1`` as those of a tensor of bytes.

    Raises:
        NotNative: if they are computed at run time or hold several values, or the tensor is not 8 bits wide.
    """
    require_bytes(context, tensor)
    zero_point = int(scalar_input(node, context, scale + 1)) if node.input(scale + 1) else 0
    return ByteScale(scalar_input(node, context, scale), zero_point, context.dtype(tensor) is DType.INT8)
