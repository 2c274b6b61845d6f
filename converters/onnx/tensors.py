"""ONNX tensors and types as NumPy arrays and our types."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgeinfer.errors import ConversionError
from edgeinfer.graph import Dim, DType, TensorType

ELEMENT_TYPES: dict[int, DType] = {
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

# Texts that exporters write where they mean "some size".
_NAMELESS = ("", "?", "-1", "None")


def element_type(code: int, where: str) -> DType:
    """The dtype of an ONNX element type code; ``where`` names the place for the error."""
    if code not in ELEMENT_TYPES:
        name = TensorProto.DataType.Name(code) if code in TensorProto.DataType.values() else str(code)
        raise ConversionError(f"{where}: element type {name} is not supported")
    return ELEMENT_TYPES[code]


def to_array(tensor: onnx.TensorProto, folder: Path | None) -> tuple[np.ndarray, DType]:
    """A tensor's contents and dtype.

    Args:
        tensor: the tensor; its elements may lie in it, raw or typed, or in a file of their own.
        folder: where external data lies, None if the model came from memory.

    Raises:
        ConversionError: if the dtype is not supported, or the contents are missing or damaged.
    """
    where = f"tensor '{tensor.name}'"
    dtype = element_type(tensor.data_type, where)
    if tensor.data_location == TensorProto.EXTERNAL and folder is None:
        raise ConversionError(
            f"{where} has external data, and a model in memory has no folder to find it in: "
            "import the .onnx file by its path, or call onnx.load_external_data_for_model first"
        )
    try:
        array = numpy_helper.to_array(tensor, base_dir=str(folder) if folder else "")
    except (OSError, ValueError, TypeError, onnx.checker.ValidationError) as error:
        raise ConversionError(f"{where} cannot be read: {error}") from error
    if dtype is DType.STRING:
        return array.astype(object), dtype
    if dtype is DType.BFLOAT16:
        array = array.view(np.uint16)
    return np.ascontiguousarray(array.astype(dtype.numpy, copy=False)).reshape(array.shape), dtype


def sparse_to_array(sparse: onnx.SparseTensorProto, folder: Path | None) -> tuple[np.ndarray, DType]:
    """A sparse tensor's contents, made dense, and dtype."""
    values, dtype = to_array(sparse.values, folder)
    indices, _ = to_array(sparse.indices, folder)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    try:
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
    except (IndexError, ValueError) as error:
        raise ConversionError(f"sparse tensor '{sparse.values.name}' cannot be read: {error}") from error
    return dense, dtype


class TypeReader:
    """Reads the types of one model's values; knows the names of dimensions given so far.

    Named dimensions keep their names. Others get the name of their value and axis, such as ``image_axis2``.
    """

    def __init__(self) -> None:
        self._made: set[str] = set()

    def read(self, value: onnx.ValueInfoProto) -> TensorType | None:
        """The type of a value, None if the model does not tell.

        Sequences and optional values have the dtype of their elements and no shape.

        Raises:
            ConversionError: if the element type is not supported.
        """
        proto, is_tensor = value.type, True
        while proto.WhichOneof("value") in ("sequence_type", "optional_type"):
            proto = getattr(proto, proto.WhichOneof("value")).elem_type
            is_tensor = False
        if not proto.HasField("tensor_type") or not proto.tensor_type.elem_type:
            return None
        tensor = proto.tensor_type
        dtype = element_type(tensor.elem_type, f"value '{value.name}'")
        if not is_tensor or not tensor.HasField("shape"):
            return TensorType(dtype, None)
        return TensorType(dtype, tuple(self._dim(value.name, axis, dim) for axis, dim in enumerate(tensor.shape.dim)))

    def _dim(self, value: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> Dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            return int(dim.dim_value)
        name = dim.dim_param.strip()
        if name not in _NAMELESS:
            return int(name) if name.isdigit() else name
        name = re.sub(r"\W", "_", f"{value}_axis{axis}")
        while name in self._made:
            name += "_"
        self._made.add(name)
        return name
