"""The targets that kernels can be compiled for ahead of time: a CPU level and a system."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeinfer.errors import KernelError
from edgeinfer.simd.levels import LEVELS, Level

# LLVM's triples by system and architecture. The first system of an architecture is the usual one.
TRIPLES = {
    "linux-gnu": {
        "x86_64": "x86_64-unknown-linux-gnu",
        "aarch64": "aarch64-unknown-linux-gnu",
        "armv7l": "armv7-unknown-linux-gnueabihf",
        "riscv64": "riscv64-unknown-linux-gnu",
    },
    "linux-musl": {
        "x86_64": "x86_64-unknown-linux-musl",
        "aarch64": "aarch64-unknown-linux-musl",
        "armv7l": "armv7-unknown-linux-musleabihf",
        "riscv64": "riscv64-unknown-linux-musl",
    },
    "android": {
        "x86_64": "x86_64-unknown-linux-android",
        "aarch64": "aarch64-unknown-linux-android",
        "armv7l": "armv7a-unknown-linux-androideabi",
    },
    "macos": {"x86_64": "x86_64-apple-macosx11.0.0", "aarch64": "arm64-apple-macosx11.0.0"},
    "wasm": {"wasm32": "wasm32-unknown-unknown"},
}

# Prefixes of the GNU cross tools.
_BINUTILS = {
    "x86_64": "x86_64-linux-gnu-",
    "aarch64": "aarch64-linux-gnu-",
    "armv7l": "arm-linux-gnueabihf-",
    "riscv64": "riscv64-linux-gnu-",
}


def systems_of(architecture: str) -> list[str]:
    """The systems that kernels can be compiled for on an architecture, the usual one first."""
    return [system for system, triples in TRIPLES.items() if architecture in triples]


@dataclass(frozen=True)
class Target:
    """A CPU level of a system.

    Attributes:
        name: what users call it.
        level: the CPU level.
        system: a key of TRIPLES. Kernels need memcpy, memset, memmove and syscall only, so the ELF objects of glibc,
            musl and Android hardly differ.
    """

    name: str
    level: Level
    system: str = "linux-gnu"

    @property
    def triple(self) -> str:
        """LLVM's name of architecture and system."""
        return TRIPLES[self.system][self.level.architecture]

    @property
    def binutils(self) -> str:
        """Prefix of the GNU cross tools; empty if there are none."""
        return _BINUTILS.get(self.level.architecture, "")

    @property
    def loads_libraries(self) -> bool:
        """Whether a program can load shared libraries of ours; elsewhere models are compiled into it."""
        return self.system in ("linux-gnu", "linux-musl", "android")


# By name, each for the usual system of its architecture.
TARGETS = {
    target.name: target
    for target in (
        Target("x86-64-v4+amx", LEVELS["amx"]),
        Target("x86-64-v4+bf16", LEVELS["bf16"]),
        Target("x86-64-v4+vnni", LEVELS["vnni"]),
        Target("x86-64-v4", LEVELS["avx512"]),
        Target("x86-64-v3+vnni", LEVELS["avxvnni"]),
        Target("x86-64-v3", LEVELS["avx2"]),
        Target("x86-64-v2", LEVELS["v128"]),
        Target("aarch64+i8mm", LEVELS["i8mm"]),
        Target("aarch64+dotprod", LEVELS["dotprod"]),
        Target("aarch64+in-order", LEVELS["neon_in_order"]),
        Target("aarch64", LEVELS["neon"]),
        Target("armv7+neon", LEVELS["neon32"]),
        Target("riscv64+v", LEVELS["rvv"]),
        Target("wasm32+simd128", LEVELS["simd128"], "wasm"),
    )
}


def find_target(name: str) -> Target:
    """The target of a name such as ``aarch64+dotprod``, or of another system: ``aarch64+dotprod-android``.

    Raises:
        KernelError: if there is none; lists all.
    """
    if name in TARGETS:
        return TARGETS[name]
    for system in TRIPLES:
        target = TARGETS.get(name.removesuffix(f"-{system}"))
        if target is not None and system in systems_of(target.level.architecture):
            return replace(target, name=name, system=system)
    raise KernelError(
        f"there is no target '{name}'; the targets are {', '.join(TARGETS)}, each also with a system behind it: "
        f"{', '.join(f'-{system}' for system in TRIPLES)}, where 'edgeinfer targets' lists that system"
    )


def target_of_level(level: str) -> Target:
    """The target that compiles for a CPU level."""
    return next(target for target in TARGETS.values() if target.level.name == level)
