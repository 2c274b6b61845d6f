"""Files that end in the SHA-256 of what comes before it, so that damage is seen before the system loads them.

The loaders of shared libraries and object files ignore what follows the last section.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgeinfer.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST_BYTES = hashlib.sha256().digest_size


def write_sealed(path: Path, data: bytes) -> None:
    """Write data and its digest beside ``path``, then rename."""
    with replacing(path) as part:
        part.write_bytes(data + hashlib.sha256(data).digest())


def read_sealed(path: str | Path) -> bytes | None:
    """The data without its digest, None if the file is not exactly as it was written.

    Raises:
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read()
    data, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    return data if hashlib.sha256(data).digest() == digest else None


def is_sealed(path: Path) -> bool:
    """Whether the file exists and is exactly as it was written."""
    try:
        return read_sealed(path) is not None
    except OSError:
        return False
