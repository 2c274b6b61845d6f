"""CPU levels: what the vectors of each look like and how LLVM is told about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """One set of CPU features that kernels are compiled for.

    Attributes:
        name: short name, the last part of kernel names.
        lanes: float32 elements of one vector register.
        registers: number of vector registers.
        cpu: LLVM's name of the CPU.
        features: further LLVM features, ``+a,-b``.
    """

    name: str
    lanes: int
    registers: int
    cpu: str
    features: str = ""


LEVELS = {
    level.name: level
    for level in (
        Level("avx512", 16, 32, "x86-64-v4", "-prefer-256-bit"),
        Level("avx2", 8, 16, "x86-64-v3"),
        Level("v128", 4, 16, "x86-64-v2"),
    )
}
