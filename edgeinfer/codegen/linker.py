"""From an object file to a shared library, with whatever linker is at hand."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
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


def link_shared(objects: list[bytes]) -> bytes:
    """Link object files into a shared library.

    Raises:
        KernelError: if there is no linker, or it fails.
    """
    linker = find_linker()
    if linker is None:
        raise KernelError("no linker found: install binutils, lld or a C compiler")
    with tempfile.TemporaryDirectory(prefix="edgeinfer-link-") as folder:
        paths = [Path(folder, f"{index}.o") for index in range(len(objects))]
        for path, code in zip(paths, objects, strict=True):
            path.write_bytes(code)
        library = Path(folder, "library.so")
        command = [*linker, "-o", str(library), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise KernelError(f"{linker[0]} failed to link: {done.stderr.strip()}")
        return library.read_bytes()
