"""The safetensors container: an 8-byte length, a JSON header, raw tensors.

Written so that every tensor starts on a 64-byte boundary: the header is padded with spaces, the gaps between
tensors are ``uint8`` tensors of their own, named ``__padding_0__`` and so on. Format description:
https://huggingface.co/docs/safetensors (a dict of name → dtype, shape, data_offsets, and ``__metadata__``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeinfer.errors import FormatError

ALIGNMENT = 64
MAX_HEADER = 100_000_000
PADDING = "__padding_{}__"

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


def _padding(size: int) -> int:
    return -size % ALIGNMENT


def write_container(tensors: Mapping[str, tuple[str, np.ndarray]], metadata: Mapping[str, str]) -> list[bytes]:
    """Lay out a container.

    Args:
        tensors: name to (container dtype, array).
        metadata: texts for ``__metadata__``.

    Returns:
        The file's parts in order.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    offset = gaps = 0
    for name, (dtype, array) in tensors.items():
        data = np.ascontiguousarray(array, DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
        gap = _padding(offset)
        if gap:
            header[PADDING.format(gaps)] = {"dtype": "U8", "shape": [gap], "data_offsets": [offset, offset + gap]}
            parts.append(bytes(gap))
            offset, gaps = offset + gap, gaps + 1
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * _padding(len(text) + 8)
    return [len(text).to_bytes(8, "little"), text, *parts]


def dtype_name(array: np.ndarray) -> str:
    """The container's name for the dtype of an array."""
    plain = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    if plain not in _NAMES:
        raise FormatError(f"arrays of dtype {array.dtype} cannot be stored")
    return _NAMES[plain]


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise FormatError("a name appears twice in the header")
    return result


def _no_constant(text: str) -> Any:
    raise FormatError(f"the header holds {text}, which is not JSON")


def parse_json(text: bytes | str, what: str) -> Any:
    """Strict JSON: names are unique, numbers finite, depth and size of numbers bounded."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not valid JSON: {error}") from error


def header_bytes(buffer: memoryview) -> bytes:
    """The header's JSON text; checks the length in front of it."""
    if len(buffer) < 8:
        raise FormatError(f"the file has {len(buffer)} bytes; a model starts with an 8-byte length")
    length = int.from_bytes(buffer[:8], "little")
    if length > MAX_HEADER:
        raise FormatError(f"the header would be {length} bytes long; this is not an .edge file, or it is damaged")
    if length + 8 > len(buffer):
        raise FormatError(f"the header should take {length} bytes, but the file ends after {len(buffer) - 8}: it is cut short")
    return bytes(buffer[8 : 8 + length])


def _shape_of(name: str, entry: Mapping[str, Any]) -> tuple[int, ...]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or len(shape) > 32:
        raise FormatError(f"tensor '{name}' has no valid shape")
    for dim in shape:
        if isinstance(dim, bool) or not isinstance(dim, int) or not 0 <= dim < 1 << 40:
            raise FormatError(f"tensor '{name}' has the dimension {dim!r}")
    return tuple(shape)


def read_container(buffer: memoryview) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, str]]:
    """Check a container and map its tensors.

    Args:
        buffer: the whole file.

    Returns:
        Name to (container dtype, read-only view of the file), padding left out, and the metadata.

    Raises:
        FormatError: naming what is wrong.
    """
    text = header_bytes(buffer)
    header = parse_json(text, "the header")
    if not isinstance(header, dict):
        raise FormatError("the header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("__metadata__ is not an object of texts")
    data = buffer[8 + len(text) :]
    tensors: dict[str, tuple[str, np.ndarray]] = {}
    spans = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise FormatError(f"tensor '{name}' is not described by dtype, shape and data_offsets")
        dtype, shape, offsets = entry["dtype"], _shape_of(name, entry), entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise FormatError(f"tensor '{name}' has the unknown dtype {dtype!r}")
        if not isinstance(offsets, list) or [type(value) for value in offsets] != [int, int]:
            raise FormatError(f"tensor '{name}' has no valid data_offsets")
        start, end = offsets
        size = math.prod(shape) * DTYPES[dtype].itemsize
        if not 0 <= start <= end <= len(data):
            raise FormatError(f"tensor '{name}' lies at {start}..{end}, but the file holds {len(data)} bytes of data")
        if end - start != size:
            raise FormatError(f"tensor '{name}' of {dtype}{list(shape)} takes {size} bytes, not {end - start}")
        spans.append((start, end, name))
        if start % DTYPES[dtype].itemsize:
            raise FormatError(f"tensor '{name}' starts at {start}, which {dtype} cannot be read from")
        tensors[name] = (dtype, np.frombuffer(data[start:end], DTYPES[dtype]).reshape(shape))
    _check_spans(spans, len(data))
    padding = [name for name, (dtype, _) in tensors.items() if name.startswith("__padding_") and dtype == "U8"]
    if padding != [PADDING.format(number) for number in range(len(padding))]:
        raise FormatError(f"the padding tensors are not numbered in order: {padding[:3]}")
    return {name: item for name, item in tensors.items() if name not in padding}, metadata


def _check_spans(spans: list[tuple[int, int, str]], size: int) -> None:
    """Tensors must cover the data without holes and without sharing bytes."""
    position = 0
    for start, end, name in sorted(spans):
        if start != position:
            kind = "overlaps the tensor before it" if start < position else "leaves a hole before it"
            raise FormatError(f"tensor '{name}' {kind} (at byte {start}, expected {position})")
        position = end
    if position != size:
        raise FormatError(f"the tensors take {position} bytes, but the file holds {size}")
