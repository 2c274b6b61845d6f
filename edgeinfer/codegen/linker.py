"""From object files to a shared library, with whatever linker is at hand."""

from __future__ import annotations

import functools
import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeinfer.codegen.targets import Target
from edgeinfer.errors import KernelError

# LLVM's emulations of GNU ld, by architecture.
_EMULATIONS = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux", "riscv64": "elf64lriscv"}
_OPTIONS = ("-shared", "-s")
# Divisions of int64 and the like are calls of the compiler's own library there.
_NEEDS_COMPILER_LIBRARY = {"armv7l"}


@dataclass(frozen=True)
class Linker:
    """How to link a shared library: the command before and after the object files."""

    command: tuple[str, ...]
    libraries: tuple[str, ...] = ()


@functools.cache
def find_linker(target: Target) -> Linker | None:
    """The linker for a target's shared libraries, None if there is none."""
    architecture = target.level.architecture
    native = architecture == platform.machine()
    if architecture in _NEEDS_COMPILER_LIBRARY:
        linker = _first_program([f"{target.binutils}gcc", *(("cc", "gcc") if native else ())])
        options: tuple[str, ...] = (*_OPTIONS, "-nostdlib", "-Wl,-z,max-page-size=16384,--exclude-libs,ALL")
        if linker:
            return Linker((linker, *options), ("-lgcc",))
        return _zig(target, ())
    page = ("-z", "max-page-size=16384") if target.system == "android" else ()
    linker = _first_program(["ld.lld"])
    if linker:
        return Linker((linker, "-m", _EMULATIONS[architecture], *_OPTIONS, *page))
    linker = _first_program([f"{target.binutils}ld", *(("ld",) if native else ())])
    if linker:
        return Linker((linker, *_OPTIONS, *page))
    linker = _first_program(["cc", "gcc", "clang"]) if native else None
    if linker:
        return Linker((linker, *_OPTIONS, "-nostdlib"))
    return _zig(target, ("-nostdlib",))


def _first_program(names: list[str]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def _zig(target: Target, options: tuple[str, ...]) -> Linker | None:
    if importlib.util.find_spec("ziglang") is None:
        return None
    triple = target.triple.replace("-unknown-", "-").replace("armv7-", "arm-")
    return Linker((sys.executable, "-m", "ziglang", "cc", "-target", triple, *_OPTIONS, *options))


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
    return _link([*linker, "--no-entry", "--export-dynamic", "--strip-all"], [code], [])


def missing_linker(target: Target) -> str:
    """What to install to link for a target."""
    if target.level.architecture in _NEEDS_COMPILER_LIBRARY:
        return f"no compiler for {target.name} found to link with: install {target.binutils}gcc, or pip install ziglang"
    return f"no linker for {target.name} found: install lld, {target.binutils}binutils, or pip install ziglang"


def link_shared(objects: list[bytes], target: Target) -> bytes:
    """Link object files into a shared library; the same objects give the same bytes.

    Raises:
        KernelError: if there is no linker, or it fails.
    """
    linker = find_linker(target)
    if linker is None:
        raise KernelError(missing_linker(target))
    return _link(list(linker.command), objects, list(linker.libraries))


def _link(command: list[str], objects: list[bytes], libraries: list[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgeinfer-link-") as folder:
        names = [f"{index}.o" for index in range(len(objects))]
        for name, code in zip(names, objects, strict=True):
            Path(folder, name).write_bytes(code)
        whole = [*command, "-o", "library.so", *names, *libraries]
        done = subprocess.run(whole, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise KernelError(f"{command[0]} failed to link: {done.stderr.strip()}")
        return Path(folder, "library.so").read_bytes()
