"""Reading and writing ``.edge`` files: safetensors files whose metadata holds the graph as JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import tempfile
from pathlib import Path

import numpy as np

from edgeinfer.errors import FormatError
from edgeinfer.format.container import DTYPES, dtype_name, parse_json, read_container, write_container
from edgeinfer.format.graph_json import GraphWriter, read_graph
from edgeinfer.graph import DType, Graph

FORMAT = "edgeinfer"
VERSION = "1"


def write_edge(graph: Graph, path: str | Path) -> None:
    """Write a graph as an ``.edge`` file; the same graph gives the same bytes.

    The file is written beside its place and renamed, so that a full disk leaves no half file.

    Raises:
        FormatError: if the graph holds what the format cannot store, or the file cannot be written.
    """
    writer = GraphWriter()
    text = json.dumps(writer.graph(graph), separators=(",", ":"), ensure_ascii=True)
    tensors = {
        name: ("BF16" if dtype is DType.BFLOAT16 else dtype_name(array), array)
        for name, (dtype, array) in writer.tensors.items()
    }
    metadata = {"format": FORMAT, "version": VERSION, "graph": text}
    metadata["data_checksum"] = _data_checksum(tensors)
    metadata["checksum"] = _checksum(metadata, tensors)
    _write_beside(Path(path), write_container(tensors, metadata))


def _write_beside(path: Path, parts: list[bytes]) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise FormatError(f"cannot write into {path.parent}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise FormatError(f"cannot write {path}: {error.strerror}") from error


def read_edge(source: str | Path | bytes, verify_data: bool = False) -> Graph:
    """Read an ``.edge`` file; constants are read-only views of the mapped file.

    Args:
        source: path, or the file's contents.
        verify_data: also compare the tensors' bytes with their checksum, which reads the whole file.

    Raises:
        FormatError: if the file is missing, cut short or damaged; says where.
    """
    if isinstance(source, bytes):
        return _read(memoryview(source), verify_data)
    try:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {source}: {error}") from error
    try:
        return _read(memoryview(buffer), verify_data)
    except FormatError as error:
        raise FormatError(f"{source}: {error}") from error


def _read(buffer: memoryview, verify_data: bool) -> Graph:
    tensors, metadata = read_container(buffer)
    if metadata.get("format") != FORMAT:
        raise FormatError("this safetensors file holds no edgeinfer model")
    if metadata.get("version") != VERSION:
        raise FormatError(f"the file is of version {metadata.get('version')!r}; this edgeinfer reads {VERSION}")
    if metadata.get("checksum") != _checksum(metadata, tensors):
        raise FormatError("the header's checksum does not fit: the file is damaged")
    if verify_data and metadata.get("data_checksum") != _data_checksum(tensors):
        raise FormatError("the tensors' checksum does not fit: the file is damaged")
    return read_graph(parse_json(metadata["graph"], "the graph"), {name: array for name, (_, array) in tensors.items()})


def _checksum(metadata: dict[str, str], tensors: dict[str, tuple[str, np.ndarray]]) -> str:
    """A digest of the metadata and of every tensor's name, dtype, shape and order."""
    digest = hashlib.sha256()
    for key in ("format", "version", "graph", "data_checksum"):
        digest.update(f"{key}={metadata.get(key)}\n".encode("utf-8", "surrogatepass"))
    for name, (dtype, array) in tensors.items():
        digest.update(f"{name}:{dtype}{list(array.shape)}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _data_checksum(tensors: dict[str, tuple[str, np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for dtype, array in tensors.values():
        digest.update(np.ascontiguousarray(array, DTYPES[dtype]).tobytes())
    return digest.hexdigest()
