"""Kernels from a pack: a shared library that was compiled ahead of time, and its manifest."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import edgeinfer
from edgeinfer.abi import ABI_VERSION
from edgeinfer.errors import KernelError
from edgeinfer.plan.kernel_set import KernelRow, KernelSet

if TYPE_CHECKING:
    from pathlib import Path

# Where packs that came with the package lie.
PACKAGE_FOLDER = os.path.join(os.path.dirname(edgeinfer.__file__), "packs")


# How every manifest ends.
_END = "}\n"


def pack_folders() -> list[str]:
    """Folders to look for packs in: those of ``EDGEINFER_PACKS``, then the package's own."""
    named = os.environ.get("EDGEINFER_PACKS", "")
    return [*(part for part in named.split(os.pathsep) if part), PACKAGE_FOLDER]


def _manifests() -> Iterator[str]:
    """Paths of all manifests at hand, those to be preferred first."""
    for folder in pack_folders():
        with contextlib.suppress(OSError):
            names = sorted(os.listdir(folder))
            yield from (
                os.path.join(folder, name) for name in names if name.startswith("edgeinfer-") and name.endswith(".json")
            )


def find_pack(level: str) -> str | None:
    """The manifest of the first pack for a CPU level, None if there is none.

    Raises:
        KernelError: if a manifest cannot be read.
    """
    return next((path for path in _manifests() if _read_manifest(path, level).get("level") == level), None)


def _read_manifest(path: str | Path, level: str = "") -> dict[str, Any]:
    """A manifest; nothing of one that is whole and does not name the level, since parsing takes long."""
    try:
        with open(path) as file:
            text = file.read()
        if level and f'"{level}"' not in text and text.endswith(_END):
            return {}
        manifest = _parse_manifest(text)
    except (OSError, ValueError) as error:
        raise KernelError(f"cannot read the kernel pack {path}: {error}; build it again with edgeinfer pack") from error
    if not isinstance(manifest, dict):
        raise KernelError(f"the kernel pack {path} has no manifest of ours; build it again with edgeinfer pack")
    return manifest


@functools.lru_cache(maxsize=4)
def _parse_manifest(text: str) -> Any:
    """Cached: whoever finds a pack opens it next. Others that lean on it are read before."""
    return json.loads(text)


class PackLibrary:
    """The kernels of a pack.

    Attributes:
        level: the CPU level.
        kernel_set: what the planner needs to know of the kernels.

    Raises:
        KernelError: if the pack is of another version, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        manifest = _read_manifest(path)
        made_for = manifest.get("version"), manifest.get("abi")
        if made_for != (edgeinfer.__version__, ABI_VERSION):
            raise KernelError(
                f"the kernel pack {path} was built for edgeinfer {made_for[0]} (interface {made_for[1]}), this is "
                f"{edgeinfer.__version__} (interface {ABI_VERSION}): build it again with edgeinfer pack"
            )
        library = os.path.splitext(path)[0] + ".so"
        try:
            self.level = str(manifest["level"])
            # By level: its own library, then those that it leans on, which have what is the same there.
            self._libraries = {self.level: _open_library(library, manifest["sha256"])}
            for base in manifest.get("bases", ()):
                library = os.path.join(os.path.dirname(path), os.path.basename(base["library"]))
                self._libraries[str(base["level"])] = _open_library(library, base["sha256"])
            rows = [KernelRow.from_json(row) for row in manifest["kernels"]]
            self.kernel_set = KernelSet(self.level, int(manifest["lanes"]), rows)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise KernelError(f"cannot load the kernel pack {library}: {error}") from error

    def load(self, names: Iterable[str]) -> dict[str, int]:
        """Addresses of kernels by name."""
        return {name: self._address(name) for name in names}

    def entry(self, family: str) -> Callable[[int, int], None]:
        """A kernel of a family as a Python function of two addresses; it runs without the interpreter's lock."""
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(self._address(f"{family}__{self.level}"))

    def _address(self, name: str) -> int:
        stem = name.removesuffix(self.level)
        for level, library in self._libraries.items():
            with contextlib.suppress(AttributeError):
                return int(ctypes.cast(getattr(library, stem + level), ctypes.c_void_p).value or 0)
        raise KernelError(f"the kernel pack for {self.level} has no kernel {name}")


def _open_library(path: str, sha256: str) -> ctypes.CDLL:
    """A library whose contents have been checked.

    Raises:
        KernelError: if they are other than they were.
        OSError: if it cannot be read or loaded.
    """
    with open(path, "rb") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise KernelError(f"the kernel pack {path} is damaged: build it again with edgeinfer pack")
    return ctypes.CDLL(os.path.abspath(path))
