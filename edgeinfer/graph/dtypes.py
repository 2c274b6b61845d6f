"""Element types of tensors."""

from __future__ import annotations

import enum

import numpy as np


class DType(enum.Enum):
    """An element type; its value is the name used in files and messages.

    bfloat16 and the 4-bit integers have no NumPy dtype: their arrays hold raw bits
    (uint16) and one integer per byte (int8 / uint8).
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT64 = "float64"
    INT4 = "int4"
    UINT4 = "uint4"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    BOOL = "bool"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    STRING = "string"

    @property
    def numpy(self) -> np.dtype:
        """The NumPy dtype of an array that holds such elements."""
        return _NUMPY[self._value_]

    @property
    def itemsize(self) -> int:
        """Bytes of one element in memory."""
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        """Whether the elements are real floating-point numbers."""
        return self in (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16, DType.FLOAT64)

    @staticmethod
    def of(array: np.ndarray) -> DType:
        """The element type of a NumPy array; object and str arrays are strings."""
        known = _BY_NUMPY.get(array.dtype)
        if known is not None:
            return known
        return DType.STRING if array.dtype.kind in "OUS" else DType(array.dtype.name)


_HELD_AS = {DType.BFLOAT16: "uint16", DType.INT4: "int8", DType.UINT4: "uint8", DType.STRING: "object"}
# By name: members of an enumeration are slow keys.
_NUMPY = {dtype.value: np.dtype(_HELD_AS.get(dtype, dtype.value)) for dtype in DType}
_BY_NUMPY = {dtype.numpy: dtype for dtype in DType if dtype not in _HELD_AS}

# Range of the integers of each element type.
INTEGER_RANGES = {
    DType.INT4: (-8, 7),
    DType.UINT4: (0, 15),
    **{
        dtype: (int(np.iinfo(dtype.numpy).min), int(np.iinfo(dtype.numpy).max))
        for dtype in (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT32)
    },
}
