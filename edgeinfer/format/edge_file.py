"""Reading and writing ``.edge`` files: safetensors files whose metadata holds the graph as JSON.

``__metadata__`` of the header has these texts:

- ``format``: ``edgeinfer``; ``version``: of the format;
- ``graph``: the graph as JSON, see ``graph_json``;
- ``data_sha256``: SHA-256 of all bytes behind the header;
- ``header_sha256``: SHA-256 of the header written as JSON without spaces and without this very entry.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import sys
from typing import TYPE_CHECKING, Any

from edgeinfer.errors import FormatError
from edgeinfer.files import replacing
from edgeinfer.format.container import (
    METADATA,
    dtype_name,
    encode_header,
    lay_out,
    map_tensors,
    read_header,
    read_metadata,
)
from edgeinfer.format.graph_json import GraphWriter, read_graph
from edgeinfer.format.strict_json import dump_json, parse_json
from edgeinfer.graph import DType, Graph, verify

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "edgeinfer"
VERSION = "1"

# The advice to map all pages at once: Linux 5.14 on.
_POPULATE_READ = 22


def write_edge(graph: Graph, path: str | Path) -> None:
    """Write a graph as an ``.edge`` file; the same graph gives the same bytes.

    The file is written beside its place and renamed, so that a full disk leaves no half file.

    Raises:
        GraphError: if the graph breaks the rules of the intermediate representation.
        FormatError: if the graph holds what the format cannot store, or the file cannot be written.
    """
    verify(graph)
    writer = GraphWriter()
    text = dump_json(writer.graph(graph)).decode()
    entries, parts = lay_out(
        {
            name: ("BF16" if dtype is DType.BFLOAT16 else dtype_name(array), array)
            for name, (dtype, array) in writer.tensors.items()
        }
    )
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    metadata = {"format": FORMAT, "version": VERSION, "graph": text, "data_sha256": digest.hexdigest()}
    header = {METADATA: metadata, **entries}
    metadata["header_sha256"] = _header_digest(header)
    _write(path, [encode_header(header), *parts])


def _write(path: str | Path, parts: list[memoryview | bytes]) -> None:
    from pathlib import Path

    try:
        with replacing(Path(path)) as part, open(part, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FormatError(f"cannot write {path}: {error.strerror}") from error


def read_edge(source: str | Path | bytes, verify: bool = False, ahead: bool = False) -> Graph:
    """Read an ``.edge`` file; constants are read-only views of the mapped file.

    The header is always compared with its checksum; the tensors' bytes only if asked for, because that reads all of a
    file whose pages are otherwise read when they are needed.

    Args:
        source: path, or the file's contents.
        verify: also compare the tensors with their checksum.
        ahead: read all of a file at once, for who will need all of it: quicker than page after page.

    Raises:
        FormatError: if the file is missing, cut short or damaged; says where.
    """
    if isinstance(source, bytes):
        return _read(memoryview(source), verify)
    try:
        with open(source, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise FormatError(f"cannot read {source}: {error.strerror}") from error
    except ValueError as error:
        raise FormatError(f"cannot read {source}: {error}") from error
    if ahead and sys.platform == "linux" and isinstance(buffer, mmap.mmap):
        # What the system refuses is read when it is needed.
        with contextlib.suppress(OSError):
            buffer.madvise(_POPULATE_READ)
    try:
        return _read(memoryview(buffer), verify)
    except FormatError as error:
        raise FormatError(f"{source}: {error}") from error


def _read(buffer: memoryview, verify_data: bool) -> Graph:
    header, data = read_header(buffer)
    metadata = read_metadata(header)
    if metadata.get("format") != FORMAT:
        raise FormatError("this safetensors file holds no edgeinfer model")
    if metadata.get("version") != VERSION:
        raise FormatError(
            f"the file is of version {metadata.get('version')!r:.40}, but this edgeinfer reads version {VERSION!r}"
        )
    missing = {"graph", "data_sha256", "header_sha256"} - metadata.keys()
    if missing:
        raise FormatError(f"{METADATA} lacks {sorted(missing)}")
    # What the digest covers is the meaning of the header; that its bytes are the only spelling of that closes the rest.
    if encode_header(header) != buffer[: len(buffer) - len(data)]:
        raise FormatError("the header is not written in the one way that .edge files allow: the file is damaged")
    if metadata["header_sha256"] != _header_digest(header):
        raise FormatError("the header does not fit its checksum: the file is damaged")
    tensors = map_tensors(header, data)
    if verify_data and metadata["data_sha256"] != hashlib.sha256(data).hexdigest():
        raise FormatError("the tensors do not fit their checksum: the file is damaged")
    return read_graph(parse_json(metadata["graph"], "the graph"), tensors)


def _header_digest(header: dict[str, Any]) -> str:
    metadata = {name: text for name, text in header[METADATA].items() if name != "header_sha256"}
    return hashlib.sha256(dump_json({**header, METADATA: metadata})).hexdigest()
