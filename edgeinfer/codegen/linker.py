"""From object files to a shared library, with whatever linker is at hand."""

from __future__ import annotations

import functools
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeinfer.codegen.targets import Target
from edgeinfer.errors import KernelError

# LLVM's emulations of GNU ld, by architecture.
_EMULATIONS = {
    "x86_64": "elf_x86_64",
    "aarch64": "aarch64linux",
    "armv7l": "armelf_linux_eabi",
    "riscv64": "elf64lriscv",
}
_OPTIONS = ("-shared", "-s")


@functools.cache
def find_linker(target: Target) -> tuple[str, ...] | None:
    """The command that links a target's shared libraries, None if there is none."""
    architecture = target.level.architecture
    native = architecture == platform.machine()
    page = ("-z", "max-page-size=16384") if target.system == "android" else ()
    linker = _first_program(["ld.lld"])
    if linker:
        return (linker, "-m", _EMULATIONS[architecture], *_OPTIONS, *page)
    linker = _first_program([f"{target.binutils}ld", *(("ld",) if native else ())])
    if linker:
        return (linker, *_OPTIONS, *page)
    linker = _first_program(["cc", "gcc", "clang"]) if native else None
    if linker:
        return (linker, *_OPTIONS, "-nostdlib")
    return _zig(target)


def _first_program(names: list[str]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def _zig(target: Target) -> tuple[str, ...] | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    triple = re.sub("^armv7a?-", "arm-", target.triple.replace("-unknown-", "-"))
    return (sys.executable, "-m", "ziglang", "cc", "-target", triple, *_OPTIONS, "-nostdlib")


def find_web_linker() -> tuple[str, ...] | None:
    """The command that links WebAssembly modules, None if there is none."""
    linker = _first_program(["wasm-ld", *(f"wasm-ld-{version}" for version in range(25, 13, -1))])
    if linker:
        return (linker,)
    return (sys.executable, "-m", "ziglang", "wasm-ld") if importlib.util.find_spec("ziglang") else None


def link_web_module(code: bytes) -> bytes:
    """Link an object file into a WebAssembly module that exports its functions and its memory.

    Raises:
        KernelError: if there is no linker, or it fails.
    """
    linker = find_web_linker()
    if linker is None:
        raise KernelError("no linker for WebAssembly found: install lld, or pip install ziglang")
    return _link([*linker, "--no-entry", "--export-dynamic", "--strip-all"], [code])


def missing_linker(target: Target) -> str:
    """What to install to link for a target."""
    return f"no linker for {target.name} found: install lld, {target.binutils}binutils, or pip install ziglang"


def link_shared(objects: list[bytes], target: Target) -> bytes:
    """Link object files into a shared library; the same objects give the same bytes.

    Raises:
        KernelError: if there is no linker, or it fails.
    """
    linker = find_linker(target)
    if linker is None:
        raise KernelError(missing_linker(target))
    return _link(linker, objects)


def _link(command: Sequence[str], objects: list[bytes]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgeinfer-link-") as folder:
        names = [f"{index}.o" for index in range(len(objects))]
        for name, code in zip(names, objects, strict=True):
            Path(folder, name).write_bytes(code)
        whole = [*command, "-o", "library.so", *names]
        done = subprocess.run(whole, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise KernelError(f"{command[0]} failed to link: {done.stderr.strip()}")
        return Path(folder, "library.so").read_bytes()
