"""The registry of kernels: one decorated factory for each family, one row for each tile of each level."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeinfer.simd.levels import Level, at_level
from edgeinfer.simd.simd import Simd, simd_of

Tile = tuple[int, int]

# Families of this trait ``width`` multiply quads of bytes.
BYTES_OF_UNIT = 4


def struct(integers: str, floats: str = "") -> np.dtype:
    """The params of a kernel: space-separated names of int64 fields, then of float64 fields.

    Buffers are int64 fields too: they hold buffer references (see edgeinfer.abi).
    """
    return np.dtype([(name, "<i8") for name in integers.split()] + [(name, "<f8") for name in floats.split()])


@dataclass(frozen=True)
class KernelSource:
    """A kernel that can be compiled.

    Attributes:
        name: unique name, also the symbol in the compiled library.
        family: the family, which all tiles and levels share.
        params: the C struct that it reads.
        traits: numbers for the planner; ``rows`` and ``columns`` of the tile where there is one.
        body: the Python function ``body(params, worker)`` over two records.
        module: name of the module that defines it.
    """

    name: str
    family: str
    params: np.dtype = field(hash=False)
    traits: Mapping[str, Any] = field(hash=False)
    body: Callable[..., None] = field(hash=False)
    module: str = ""


@dataclass(frozen=True)
class _Family:
    name: str
    params: np.dtype
    tiles: Mapping[str, Sequence[Tile]] | None
    traits: Mapping[str, Any]
    factory: Callable[..., Callable[..., None]]
    numbers: str = "f32"

    def sources(self, level: Level) -> list[KernelSource]:
        if self.numbers == "f16" and not level.float16:
            return []
        simd = simd_of(level, self.numbers)
        own = {name: value(level) if callable(value) else value for name, value in self.traits.items()}
        own |= level.byte_traits if self.traits.get("width") == BYTES_OF_UNIT else {}
        module = self.factory.__module__
        if self.tiles is None:
            name = f"{self.name}__{level.name}"
            return [KernelSource(name, self.name, self.params, own, self.factory(simd), module)]
        rows = []
        for tile_rows, vectors in at_level(self.tiles, level) or ():
            columns = vectors * simd.lanes
            name = f"{self.name}__{tile_rows}x{columns}_{level.name}"
            traits = {**own, **level.memory_traits, "rows": tile_rows, "columns": columns}
            body = self.factory(simd, tile_rows, vectors)
            rows.append(KernelSource(name, self.name, self.params, traits, body, module))
        return rows


_FAMILIES: dict[str, _Family] = {}

Factory = Callable[..., Callable[..., None]]


def kernel_family(
    name: str,
    params: np.dtype,
    tiles: Mapping[str, Sequence[Tile]] | None = None,
    float16: bool | Mapping[str, Sequence[Tile]] = False,
    numbers: str = "f32",
    **traits: Any,
) -> Callable[[Factory], Factory]:
    """Register the decorated factory of kernels.

    Args:
        name: the family's name, ``<dtypes>_<operator>``.
        params: the struct that its kernels read, made by ``struct``.
        tiles: for each level's name, or its base's, its register tiles as (rows, vectors); the factory is called as
            ``factory(simd, rows, vectors)`` for each. None: one kernel a level, ``factory(simd)``.
        float16: whether there is also a family of float16 numbers, where levels have these: ``f16_…`` for ``f32_…``,
            ``x16_…`` for ``x32_…``; or the tiles of that family.
        numbers: the format of the Simd that the factory is called with.
        traits: further numbers for the planner, or functions that give them for a level; families of float16 have
            ``element_bytes``.
    """

    def add(name: str, tiles: Mapping[str, Sequence[Tile]] | None, numbers: str, factory: Factory) -> None:
        if name in _FAMILIES:
            raise ValueError(f"kernel family {name} is registered twice")
        own = {**traits, "element_bytes": 2} if numbers == "f16" else traits
        _FAMILIES[name] = _Family(name, params, tiles, own, factory, numbers)

    def register(factory: Factory) -> Factory:
        add(name, tiles, numbers, factory)
        if float16:
            other_tiles = tiles if isinstance(float16, bool) else float16
            add(f"{name[0]}16{name[3:]}", other_tiles, "f16", factory)
        return factory

    return register


def kernel_sources(level: Level) -> dict[str, KernelSource]:
    """All kernels of a level by name; imports every module of edgeinfer.kernels."""
    package = importlib.import_module("edgeinfer.kernels")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"edgeinfer.kernels.{module.name}")
    return {source.name: source for family in _FAMILIES.values() for source in family.sources(level)}


__all__ = ["KernelSource", "Simd", "Tile", "kernel_family", "kernel_sources", "struct"]
