"""Compiled kernels of this machine, kept in the user's cache and loaded by the system's loader.

Neither Numba nor LLVM is imported here: what is missing is compiled by a process of its own
(edgeinfer.codegen.build), once for each version of the kernels' source.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from edgeinfer.abi import ABI_VERSION
from edgeinfer.codegen.compiler_process import start_compiler
from edgeinfer.errors import KernelError
from edgeinfer.files import cache_root
from edgeinfer.plan.kernel_set import KernelRow, KernelSet
from edgeinfer.sealed_file import is_sealed

Progress = Callable[[int, int, str], None]

_PACKAGE = Path(__file__).resolve().parent.parent
_COMMON = (
    "abi.py",
    "activation_codes.py",
    "filter_points.py",
    "minimal_filtering.py",
    "simd/*.py",
    "kernels/registry.py",
    "codegen/compiler.py",
    "codegen/shared_functions.py",
    "codegen/linker.py",
    "sealed_file.py",
    "codegen/targets.py",
    "codegen/armv7_functions.ll",
)
_KERNEL_IMPORT = re.compile(r"^from edgeinfer\.kernels\.(\w+) import", re.MULTILINE)


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(str(ABI_VERSION).encode())
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _common_files() -> set[Path]:
    return {path for pattern in _COMMON for path in _PACKAGE.glob(pattern)}


@functools.cache
def source_hash() -> str:
    """A hash of everything that decides which kernels there are and what they look like."""
    return _hash(_common_files() | set(_PACKAGE.glob("kernels/*.py")) | set(_PACKAGE.glob("codegen/*.py")))


@functools.cache
def module_hash(module: str) -> str:
    """A hash of everything that decides what the kernels of one module look like when compiled."""
    files = _common_files()
    waiting = [module.rpartition(".")[2]]
    while waiting:
        path = _PACKAGE / "kernels" / f"{waiting.pop()}.py"
        if path not in files:
            files.add(path)
            waiting += _KERNEL_IMPORT.findall(path.read_text())
    return _hash(files)


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgeinfer-kernels-")


def manifest_path(folder: Path) -> Path:
    """Where the list of all kernels of the present source lies."""
    return folder / f"manifest-{source_hash()}.json"


def kernel_folder(level: str) -> Path:
    """The folder of compiled kernels of a level, made if need be; a temporary one if the cache can't be written."""
    folder = cache_root() / f"kernels-{level}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        if manifest_path(folder).exists():
            return folder
        folder = Path(_temporary_folder().name) / f"kernels-{level}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def show_progress(done: int, total: int, name: str) -> None:
    """Say on standard error how far the compilation is."""
    if os.environ.get("EDGEINFER_LOG", "").lower() in ("quiet", "error"):
        return
    if not sys.stderr.isatty() and 0 < done < total:
        return
    end = "\n" if done == total or not sys.stderr.isatty() else "\r"
    print(f"edgeinfer: compiling kernels, once for this machine: {done}/{total} {name:<40}", end=end, file=sys.stderr)


class KernelLibrary:
    """The kernels of one CPU level on this machine.

    Attributes:
        level: the level's name.
        kernel_set: what the planner needs to know of the kernels.
        folder: where the compiled kernels lie.
    """

    def __init__(self, level: str, progress: Progress = show_progress) -> None:
        self.level = level
        self.folder = kernel_folder(level)
        self.kernel_set = self._read_manifest()
        self._progress = progress
        self._addresses: dict[str, int] = {}
        self._libraries: dict[str, ctypes.CDLL] = {}

    def _read_manifest(self) -> KernelSet:
        path = manifest_path(self.folder)
        if not path.exists():
            build = self._build([])
            _, errors = build.communicate()
            if build.returncode:
                raise KernelError(f"listing the kernels failed:\n{errors.strip()}")
        try:
            manifest = json.loads(path.read_text())
            self._files = {row["name"]: row["file"] for row in manifest["kernels"]}
            rows = [KernelRow.from_json(row) for row in manifest["kernels"]]
            return KernelSet(manifest["level"], manifest["lanes"], rows)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise KernelError(
                f"cannot read the kernel manifest {path}: {error}; delete the folder to rebuild it"
            ) from error

    def load(self, names: Iterable[str]) -> dict[str, int]:
        """Addresses of kernels by name, compiled first where they are missing.

        Raises:
            KernelError: if kernels are missing and cannot be compiled here.
        """
        wanted = list(dict.fromkeys(names))
        missing = [name for name in wanted if name not in self._addresses and not self._compiled(name)]
        self._compile(missing)
        if lost := [name for name in missing if not self._compiled(name)]:
            raise KernelError(
                f"kernel {lost[0]} is not in {self.folder} although it was compiled: the source has changed since this "
                "process started, or something deletes files there; start again"
            )
        for name in wanted:
            if name not in self._addresses:
                self._addresses[name] = self._address(name)
        return {name: self._addresses[name] for name in wanted}

    def entry(self, family: str) -> Callable[[int, int], None]:
        """A kernel of a family as a Python function of two addresses; it runs without the interpreter's lock."""
        name = f"{family}__{self.level}"
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(self.load([name])[name])

    def _compiled(self, name: str) -> bool:
        return any(is_sealed(self.folder / f"{self._files[name]}{suffix}") for suffix in (".so", ".o"))

    def _address(self, name: str) -> int:
        library = self.folder / f"{self._files[name]}.so"
        if not library.exists():
            object_loader = importlib.import_module("edgeinfer.codegen.object_loader")
            return int(object_loader.load_object(self.folder / f"{self._files[name]}.o", name))
        try:
            loaded = ctypes.CDLL(str(library))
        except OSError as error:
            raise KernelError(
                f"cannot load {library}: {error}; delete the folder {self.folder} to rebuild it"
            ) from error
        self._libraries[name] = loaded
        return int(ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value or 0)

    def _build(self, names: list[str]) -> subprocess.Popen[str]:
        if importlib.util.find_spec("numba") is None:
            raise KernelError(
                f"there are no compiled kernels for this CPU level ({self.level}) and no compiler: "
                "pip install 'edgeinfer[jit]', or a wheel that carries kernels for this machine"
            )
        return start_compiler("edgeinfer.codegen.build", self.level, str(self.folder.resolve()), *names)

    def _compile(self, names: list[str]) -> None:
        if not names:
            return
        self._progress(0, len(names), names[0])
        workers = max(1, min(len(names) // 2, len(os.sched_getaffinity(0))))
        builds = [self._build(names[index::workers]) for index in range(workers)]
        done = 0
        for build in builds:
            for line in build.stdout or ():
                done += 1
                self._progress(done, len(names), line.strip())
            _, errors = build.communicate()
            if build.returncode:
                raise KernelError(f"compiling kernels failed:\n{errors.strip()}")
