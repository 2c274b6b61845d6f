"""Where compiled kernels come from: a pack, else the cache of this machine, else a compiler."""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import os
from collections.abc import Callable, Iterable
from typing import Protocol

from edgeinfer.errors import KernelError
from edgeinfer.plan.kernel_set import KernelSet
from edgeinfer.runtime.cpu import WITH_TILE_REGISTERS, available_levels, cpu_level
from edgeinfer.runtime.pack import PackLibrary, find_pack


class Kernels(Protocol):
    """A source of compiled kernels of one CPU level."""

    kernel_set: KernelSet

    def load(self, names: Iterable[str]) -> dict[str, int]:
        """Addresses of kernels by name."""
        ...

    def entry(self, family: str) -> Callable[[int, int], None]:
        """A kernel of a family as a Python function of two addresses."""
        ...


@functools.cache
def kernels_for(level: str) -> Kernels:
    """The kernels of a level: from a pack if there is one, else compiled for this machine and cached.

    Raises:
        KernelError: if the pack is damaged or of another version, nothing is there and there is no compiler, or the
            system keeps this process from the level's registers.
    """
    if level == WITH_TILE_REGISTERS and level not in available_levels():
        raise KernelError(
            f"{level}: this processor has no AMX, or its system does not let this process use the tile registers"
        )
    pack = find_pack(level)
    if pack is not None:
        return PackLibrary(pack)
    # Code generation is no part of the runtime, which must work where it is not installed.
    cache = importlib.import_module("edgeinfer.codegen.cache")
    library: Kernels = cache.KernelLibrary(level)
    return library


def host_kernels() -> Kernels:
    """The kernels for this machine, or for the level that ``EDGEINFER_LEVEL`` names.

    Without a compiler a pack for a lower level that the machine can run will do.
    """
    level = cpu_level()
    chosen = bool(os.environ.get("EDGEINFER_LEVEL"))
    if not chosen and find_pack(level) is None and importlib.machinery.PathFinder.find_spec("numba") is None:
        level = next((name for name in available_levels() if find_pack(name) is not None), level)
    return kernels_for(level)
