"""The safetensors container: an 8-byte length, a JSON header, raw tensors.

The header maps each tensor's name to its dtype, shape and ``data_offsets`` (begin and end in the data behind the
header), and ``__metadata__`` to an object of texts; see https://huggingface.co/docs/safetensors. Here every tensor
starts on a 64-byte boundary: the header is padded with spaces, and gaps between tensors, which the format forbids, are
``uint8`` tensors of their own, named ``__padding_0__`` and so on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeinfer.errors import FormatError
from edgeinfer.format.strict_json import check_text, dump_json, parse_json

ALIGNMENT = 64
LENGTH_BYTES = 8
MAX_HEADER = 1 << 25
MAX_RANK = 32
MAX_DIMENSION = 1 << 40
METADATA = "__metadata__"

# Names of dtypes in the container, and how their arrays look in NumPy; bfloat16 is held as its bits.
DTYPES = {
    "BOOL": np.dtype(bool),
    "U8": np.dtype("<u1"),
    "I8": np.dtype("<i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


def dtype_name(array: np.ndarray) -> str:
    """The container's name for the dtype of an array.

    Raises:
        FormatError: if the container has no such dtype.
    """
    little = array.dtype.newbyteorder("<")
    if little not in _NAMES:
        raise FormatError(f"arrays of dtype {array.dtype} cannot be stored")
    return _NAMES[little]


def is_padding(name: str) -> bool:
    """Whether a tensor only fills the gap before the next one."""
    return name.startswith("__padding_")


def lay_out(tensors: Mapping[str, tuple[str, np.ndarray]]) -> tuple[dict[str, Any], list[memoryview | bytes]]:
    """Place tensors one after the other, each on a 64-byte boundary.

    Args:
        tensors: name to (container dtype, array).

    Returns:
        The header's entries, and the parts of the data in order.
    """
    entries: dict[str, Any] = {}
    parts: list[memoryview | bytes] = []
    offset = gaps = 0
    for name, (dtype, array) in tensors.items():
        data = np.ascontiguousarray(array, DTYPES[dtype]).reshape(-1).view(np.uint8)
        end = offset + data.nbytes
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        parts.append(data.data if data.nbytes else b"")
        gap = -end % ALIGNMENT
        if gap:
            entries[f"__padding_{gaps}__"] = {"dtype": "U8", "shape": [gap], "data_offsets": [end, end + gap]}
            parts.append(bytes(gap))
            gaps += 1
        offset = end + gap
    return entries, parts


def encode_header(header: Mapping[str, Any]) -> bytes:
    """The length and the header, padded with spaces so that the data starts on a 64-byte boundary.

    Raises:
        FormatError: if it is larger than readers accept.
    """
    text = dump_json(header)
    text += b" " * (-(len(text) + LENGTH_BYTES) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise FormatError(f"the header would take {len(text)} bytes; at most {MAX_HEADER} are allowed")
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def read_header(buffer: memoryview) -> tuple[dict[str, Any], memoryview]:
    """The parsed header and the data behind it.

    Raises:
        FormatError: if the file is too short for them, or the header is not a JSON object.
    """
    if len(buffer) < LENGTH_BYTES:
        raise FormatError(f"the file has {len(buffer)} bytes, but a model starts with an {LENGTH_BYTES}-byte length")
    length = int.from_bytes(buffer[:LENGTH_BYTES], "little")
    if length > MAX_HEADER:
        raise FormatError(f"the header would be {length} bytes long: this is not an .edge file, or it is damaged")
    end = LENGTH_BYTES + length
    if end > len(buffer):
        raise FormatError(f"the header should end at byte {end}, but the file ends at {len(buffer)}: it is cut short")
    header = parse_json(bytes(buffer[LENGTH_BYTES:end]), "the header")
    if not isinstance(header, dict):
        raise FormatError("the header is not a JSON object")
    return header, buffer[end:]


def read_metadata(header: Mapping[str, Any]) -> dict[str, str]:
    """The texts of ``__metadata__``.

    Raises:
        FormatError: if it is not an object of texts.
    """
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict):
        raise FormatError(f"{METADATA} is not an object of texts")
    return {name: check_text(value, f"'{name}' of {METADATA}") for name, value in metadata.items()}


def map_tensors(header: Mapping[str, Any], data: memoryview) -> dict[str, np.ndarray]:
    """Read-only views of all tensors of a header, padding left out.

    Raises:
        FormatError: naming the tensor whose description is not valid, that lies outside the data, shares bytes with
            another, leaves a hole, or does not start on a boundary.
    """
    tensors: dict[str, np.ndarray] = {}
    spans = []
    for name, entry in header.items():
        if name == METADATA:
            continue
        dtype, shape, start, end = _described(check_text(name, "a tensor's name"), entry)
        if end > len(data):
            raise FormatError(f"tensor '{name}' ends at byte {end} of the data, which ends at {len(data)}")
        spans.append((start, end, name))
        if is_padding(name):
            continue
        if start % ALIGNMENT:
            raise FormatError(f"tensor '{name}' starts at {start}, which is no multiple of {ALIGNMENT}")
        tensors[name] = _mapped(name, data[start:end], dtype, shape)
    _check_spans(spans, len(data))
    return tensors


def _described(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Dtype, shape, begin and end of a tensor, consistent with each other."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"tensor '{name}' is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FormatError(f"tensor '{name}' has the unknown dtype {dtype!r:.40}")
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(_is_size(dim) for dim in shape):
        raise FormatError(f"tensor '{name}' has the shape {shape!r:.80}, which is not valid")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):
        raise FormatError(f"tensor '{name}' has the data_offsets {offsets!r:.80}, which are not valid")
    start, end = offsets
    size = math.prod(shape) * DTYPES[dtype].itemsize
    if end - start != size:
        raise FormatError(f"tensor '{name}' of {dtype}{shape} takes {size} bytes, but lies at {start} to {end}")
    return dtype, tuple(shape), start, end


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_DIMENSION


def _mapped(name: str, part: memoryview, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    array = np.frombuffer(part, DTYPES[dtype])
    if dtype == "BOOL" and (array.view(np.uint8) > 1).any():
        raise FormatError(f"tensor '{name}' is of BOOL but holds other values than 0 and 1")
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise FormatError(f"tensor '{name}' has the shape {list(shape)}, which is not valid: {error}") from error


def _check_spans(spans: list[tuple[int, int, str]], size: int) -> None:
    """Tensors must cover the data without holes and without sharing bytes."""
    position = 0
    for start, end, name in sorted(spans):
        if start != position:
            what = "shares bytes with the one before it" if start < position else "leaves a hole before it"
            raise FormatError(f"tensor '{name}' {what}: it starts at byte {start}, expected {position}")
        position = end
    if position != size:
        raise FormatError(f"the tensors take {position} bytes, but the file holds {size} of them")
