"""ONNX tensors and types as NumPy arrays and our types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgeinfer.errors import ConversionError
from edgeinfer.graph import DType, TensorType
from edgeinfer.graph.dims import Dim, unknown_dim

ELEMENT_TYPES = {
    TensorProto.FLOAT: DType.FLOAT32,
    TensorProto.FLOAT16: DType.FLOAT16,
    TensorProto.BFLOAT16: DType.BFLOAT16,
    TensorProto.DOUBLE: DType.FLOAT64,
    TensorProto.INT4: DType.INT4,
    TensorProto.UINT4: DType.UINT4,
    TensorProto.INT8: DType.INT8,
    TensorProto.UINT8: DType.UINT8,
    TensorProto.INT16: DType.INT16,
    TensorProto.UINT16: DType.UINT16,
    TensorProto.INT32: DType.INT32,
    TensorProto.UINT32: DType.UINT32,
    TensorProto.INT64: DType.INT64,
    TensorProto.UINT64: DType.UINT64,
    TensorProto.BOOL: DType.BOOL,
    TensorProto.COMPLEX64: DType.COMPLEX64,
    TensorProto.COMPLEX128: DType.COMPLEX128,
    TensorProto.STRING: DType.STRING,
}


def element_type(code: int, where: str) -> DType:
    """The dtype of an ONNX element type code; ``where`` names the place for the error."""
    if code not in ELEMENT_TYPES:
        name = TensorProto.DataType.Name(code) if code in TensorProto.DataType.values() else str(code)
        raise ConversionError(f"{where}: element type {name} is not supported")
    return ELEMENT_TYPES[code]


def to_array(tensor: onnx.TensorProto, folder: Path | None) -> tuple[np.ndarray, DType]:
    """A tensor's contents and dtype; external data is read from the model's folder."""
    where = f"tensor '{tensor.name}'"
    dtype = element_type(tensor.data_type, where)
    try:
        array = numpy_helper.to_array(tensor, base_dir=str(folder) if folder else "")
    except (OSError, ValueError, TypeError, onnx.checker.ValidationError) as error:
        raise ConversionError(f"{where} cannot be read: {error}") from error
    if dtype is DType.STRING:
        return array.astype(object), dtype
    if dtype in (DType.BFLOAT16, DType.FLOAT16) and array.dtype != dtype.numpy:
        array = array.view(dtype.numpy)
    # Read through the file's byte order and own types (ml_dtypes) into plain NumPy ones.
    return np.ascontiguousarray(array.astype(dtype.numpy, copy=False)).reshape(array.shape), dtype


def to_type(value: onnx.ValueInfoProto) -> TensorType | None:
    """The type of a value, None if the model does not tell or it is no tensor.

    Named dimensions keep their names; negative and unnamed ones get fresh names.
    """
    if not value.type.HasField("tensor_type"):
        return None
    tensor = value.type.tensor_type
    if not tensor.elem_type:
        return None
    dtype = element_type(tensor.elem_type, f"value '{value.name}'")
    if not tensor.HasField("shape"):
        return TensorType(dtype, None)
    return TensorType(dtype, tuple(_dim(dim) for dim in tensor.shape.dim))


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    name = dim.dim_param.strip()
    return name if name and name not in ("?", "-1", "None") else unknown_dim()
