"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path``, with the same suffix, to write to.

    What was written there takes the place of ``path`` when the block ends, and is removed if the block raises, so
    that a full disk or an interruption neither leaves half a file nor loses the one that stood there before.

    Raises:
        OSError: if ``path`` is a folder or a device, or renaming fails.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "it exists and is no regular file", str(path))
    part = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
