"""What the planner knows of compiled kernels: the rows of a manifest, without the code."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from edgeinfer.errors import PlanError
from edgeinfer.records import NamedTuple

# What ``struct`` calls the two kinds of numbers in params.
_STRUCT_CODES = {"<i8": "q", "<f8": "d"}
PRECISIONS = ("float32", "bfloat16", "float16")


class KernelRow(NamedTuple):
    """One compiled kernel.

    Attributes:
        name: unique name, ``<dtypes>_<operator>__<tile>_<isa>``.
        family: what it computes, such as ``f32_conv``; all rows of a family take the same params.
        params: the C struct that the kernel reads, as a NumPy structured dtype.
        traits: numbers that the planner needs for packing and choosing, such as ``rows`` and ``columns``.
    """

    name: str
    family: str
    params: np.dtype
    traits: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(self.name)

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON values; the params are one text, which is quicker to read than lists."""
        params = " ".join(f"{name}:{kind}" for name, kind, *_ in self.params.descr)
        return {"name": self.name, "family": self.family, "params": params, "traits": dict(self.traits)}

    @property
    def element_bytes(self) -> int:
        """Bytes of a float that the kernel works on: 2 in float16 kernels, else 4."""
        return int(self.traits.get("element_bytes", 4))

    @property
    def float_dtype(self) -> np.dtype:
        """The dtype of these floats."""
        return np.dtype(np.float16 if self.element_bytes == 2 else np.float32)

    def in_order(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The values of the params' fields in their order; KeyError where one is missing."""
        ordered: tuple[Any, ...] = _layout(self)[0](values)
        return ordered

    def params_from(self, numbers: Sequence[int | float]) -> np.ndarray:
        """The params, an array [1], from a number for each field in their order."""
        return np.frombuffer(_layout(self)[1](*numbers), self.params)

    @staticmethod
    def from_json(row: Mapping[str, Any]) -> KernelRow:
        """The row that ``to_json`` wrote."""
        return KernelRow(row["name"], row["family"], _struct(row["params"]), row["traits"])


@functools.cache
def _layout(kernel: KernelRow) -> tuple[Callable[[Mapping[str, Any]], tuple[Any, ...]], Callable[..., bytes]]:
    """What takes the fields' values out of a mapping, and what makes bytes of numbers; an array of tuples is slower."""
    codes = "".join(_STRUCT_CODES[kind] for _, kind, *_ in kernel.params.descr)
    return itemgetter(*(kernel.params.names or ())), struct.Struct(f"<{codes}").pack


@functools.cache
def _struct(fields: str) -> np.dtype:
    """The dtype with these fields; many kernels share one."""
    if not isinstance(fields, str):
        raise TypeError("params should be a text")
    return np.dtype([(name, kind) for name, _, kind in (field.partition(":") for field in fields.split())])


class KernelSet:
    """All kernels of one CPU level.

    Attributes:
        level: name of the level, such as ``avx512``.
        lanes: float32 lanes of one vector.
        rows: the kernels by name.
    """

    def __init__(self, level: str, lanes: int, rows: Iterable[KernelRow]) -> None:
        self.level = level
        self.lanes = lanes
        self.rows = {row.name: row for row in rows}
        self._families: dict[str, list[KernelRow]] = {}
        for row in self.rows.values():
            self._families.setdefault(row.family, []).append(row)

    def family(self, family: str) -> list[KernelRow]:
        """All kernels of a family, in the order in which they were registered; may be empty."""
        return self._families.get(family, [])

    def lanes_of(self, kernel: KernelRow | str) -> int:
        """Floats of one vector of a kernel, or of a format: ``f16`` has twice as many as ``f32``."""
        element_bytes = {"f32": 4, "f16": 2}[kernel] if isinstance(kernel, str) else kernel.element_bytes
        return self.lanes * 4 // element_bytes

    def only(self, family: str) -> KernelRow:
        """The one kernel of a family that has a single row.

        Raises:
            PlanError: if this level has none or several.
        """
        rows = self.family(family)
        if len(rows) != 1:
            raise PlanError(f"kernel set '{self.level}' has {len(rows)} kernels of family '{family}', expected one")
        return rows[0]


def check_precision(precision: str, kernels: KernelSet) -> str:
    """The precision, if the kernels have it.

    Raises:
        PlanError: if it is unknown or the kernels lack it.
    """
    if precision not in PRECISIONS:
        raise PlanError(f"there is no precision '{precision}'; choose one of {', '.join(PRECISIONS)}")
    if precision == "bfloat16" and not (kernels.family("bf16_conv") or kernels.family("bf16_amx_conv")):
        raise PlanError(
            f"the kernels for '{kernels.level}' have no bfloat16 arithmetic, which needs AMX or AVX-512 BF16; "
            "precision 'float32' works everywhere"
        )
    if precision == "float16" and not kernels.family("f16_conv"):
        raise PlanError(
            f"the kernels for '{kernels.level}' have no float16 arithmetic, which needs Armv8.2 with FEAT_FP16: "
            "the levels 'dotprod' and 'i8mm'; precision 'float32' works everywhere"
        )
    return precision
