"""From object files to a shared library, with whatever linker is at hand."""

from __future__ import annotations

import functools
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from edgeinfer.codegen.targets import Target
from edgeinfer.errors import KernelError

# LLVM's emulations of GNU ld, by architecture.
_EMULATIONS = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux"}
# Pages of 16 KiB, as new Android devices have them, fit smaller ones too.
_OPTIONS = ("-shared", "-s")


@functools.cache
def find_linker(target: Target) -> tuple[str, ...] | None:
    """The command that links shared libraries for a target, None if there is none."""
    architecture = target.level.architecture
    lld = shutil.which("ld.lld")
    if lld:
        return (lld, "-m", _EMULATIONS[architecture], *_OPTIONS)
    cross = shutil.which(f"{target.binutils}ld")
    if cross:
        return (cross, *_OPTIONS)
    if architecture == platform.machine():
        for program in ("ld", "cc", "gcc", "clang"):
            found = shutil.which(program)
            if found:
                return (found, *_OPTIONS) if program == "ld" else (found, *_OPTIONS, "-nostdlib")
    if importlib.util.find_spec("ziglang"):
        zig_target = target.triple.replace("-unknown-", "-")
        return (sys.executable, "-m", "ziglang", "cc", "-target", zig_target, *_OPTIONS, "-nostdlib")
    return None


def link_shared(objects: list[bytes], target: Target) -> bytes:
    """Link object files into a shared library; the same objects give the same bytes.

    Raises:
        KernelError: if there is no linker, or it fails.
    """
    linker = find_linker(target)
    if linker is None:
        raise KernelError(
            f"no linker for {target.name} found: install lld, {target.binutils}binutils, or pip install ziglang"
        )
    with tempfile.TemporaryDirectory(prefix="edgeinfer-link-") as folder:
        names = [f"{index}.o" for index in range(len(objects))]
        for name, code in zip(names, objects, strict=True):
            Path(folder, name).write_bytes(code)
        command = [*linker, "-o", "library.so", *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise KernelError(f"{linker[0]} failed to link: {done.stderr.strip()}")
        return Path(folder, "library.so").read_bytes()
