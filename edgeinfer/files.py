"""Files and folders: output files are written beside their place and renamed; where the user's cache is.

No failure leaves half a file or loses an old one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# The folder in the cache with what `edgeinfer tune` found.
TUNED = "tuned"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; it becomes ``path`` at the end, and goes on any exception.

    The name keeps the suffix of ``path``, by which libraries choose a format.

    Raises:
        OSError: if ``path`` is a folder or a device, or renaming fails.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EEXIST, "it exists and is no regular file", str(path))
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def cache_path() -> str:
    """The user's cache folder: ``EDGEINFER_CACHE``, else ``XDG_CACHE_HOME``/edgeinfer, else ~/.cache/edgeinfer."""
    if os.environ.get("EDGEINFER_CACHE"):
        return os.environ["EDGEINFER_CACHE"]
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "edgeinfer")


def cache_root() -> Path:
    """``cache_path`` as a ``Path``; importing that takes longer than loading a small model, which may not need it."""
    from pathlib import Path

    return Path(cache_path())
