"""Where compiled kernels come from: the cache of this machine, or a compiler."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Protocol

from edgeinfer.plan.kernel_set import KernelSet
from edgeinfer.runtime.cpu import cpu_level


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
    """The kernels of a level; loaded through importlib because code generation is no part of the runtime."""
    cache = importlib.import_module("edgeinfer.codegen.cache")
    library: Kernels = cache.KernelLibrary(level)
    return library


def host_kernels() -> Kernels:
    """The kernels for this machine, or for the level that ``EDGEINFER_LEVEL`` names."""
    return kernels_for(cpu_level())
