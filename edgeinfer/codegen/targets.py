"""The targets that kernels can be compiled for ahead of time."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.errors import KernelError
from edgeinfer.simd.levels import LEVELS, Level


@dataclass(frozen=True)
class Target:
    """A CPU level of a system.

    Attributes:
        name: what users call it.
        level: the CPU level.
        triple: LLVM's name of architecture and system. Kernels are ELF objects that need memcpy, memset, memmove
            and syscall only, so one object serves glibc, musl and Android alike.
        binutils: prefix of the GNU cross tools.
    """

    name: str
    level: Level
    triple: str
    binutils: str


TARGETS = {
    target.name: target
    for target in (
        Target("x86-64-v4+bf16", LEVELS["bf16"], "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-"),
        Target("x86-64-v4+vnni", LEVELS["vnni"], "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-"),
        Target("x86-64-v4", LEVELS["avx512"], "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-"),
        Target("x86-64-v3+vnni", LEVELS["avxvnni"], "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-"),
        Target("x86-64-v3", LEVELS["avx2"], "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-"),
        Target("x86-64-v2", LEVELS["v128"], "x86_64-unknown-linux-gnu", "x86_64-linux-gnu-"),
        Target("aarch64", LEVELS["neon"], "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-"),
    )
}


def find_target(name: str) -> Target:
    """The target of a name.

    Raises:
        KernelError: if there is none; lists all.
    """
    if name not in TARGETS:
        raise KernelError(f"there is no target '{name}'; the targets are {', '.join(TARGETS)}")
    return TARGETS[name]


def target_of_level(level: str) -> Target:
    """The target that compiles for a CPU level."""
    return next(target for target in TARGETS.values() if target.level.name == level)
