"""PyAV, imported when it is first needed, and its errors as ours."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeinfer.errors import MediaError


def pyav() -> Any:
    """The package ``av``.

    Raises:
        MediaError: if it is not installed.
    """
    try:
        return importlib.import_module("av")
    except ModuleNotFoundError as error:
        raise MediaError("reading and writing videos needs PyAV: pip install 'edgeinfer[video]'") from error


@contextlib.contextmanager
def media_errors(action: str, path: Path) -> Iterator[None]:
    """Turn the errors of FFmpeg and of the file system into ``MediaError``: "cannot ``action`` ``path``: reason"."""
    av = pyav()
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"cannot {action} {path}: {error.strerror or error}") from error
