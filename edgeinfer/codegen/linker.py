"""From an object file to a shared library, with whatever linker is at hand."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from edgeinfer.errors import KernelError


@functools.cache
def find_linker() -> tuple[str, ...] | None:
    """The command that links shared libraries on this machine, None if there is none."""
    for program in ("ld.lld", "ld", "cc", "gcc", "clang"):
        found = shutil.which(program)
        if found:
            return (found, "-shared", "-s") if program.startswith("ld") else (found, "-shared", "-s", "-nostdlib")
    return None


def link_shared(objects: list[Path], library: Path) -> None:
    """Link object files into a shared library, written beside and renamed.

    Raises:
        KernelError: if there is no linker, or it fails.
    """
    linker = find_linker()
    if linker is None:
        raise KernelError("no linker found: install binutils, lld or a C compiler")
    part = library.with_name(f"{library.name}.{os.getpid()}.part")
    command = [*linker, "-o", str(part), *map(str, objects)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        part.unlink(missing_ok=True)
        raise KernelError(f"{linker[0]} failed to link {library.name}: {done.stderr.strip()}")
    os.replace(part, library)
