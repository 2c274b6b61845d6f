"""Which CPU level this machine has, found with the standard library alone."""

from __future__ import annotations

import functools
import os
import platform

from edgeinfer.errors import KernelError

_AVX2 = {"avx2", "fma", "f16c", "bmi1", "bmi2", "movbe"}
_AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "bmi2"}
_ARMV82 = {"fp", "asimd", "asimddp", "asimdhp", "asimdrdm", "atomics", "fphp"}
# Flags of /proc/cpuinfo that a level needs, best level first, by architecture.
_NEEDED = {
    "x86_64": {
        "bf16": {*_AVX512, "avx512_vnni", "avx512_bf16"},
        "vnni": {*_AVX512, "avx512_vnni"},
        "avx512": _AVX512,
        "avxvnni": {*_AVX2, "avx_vnni"},
        "avx2": _AVX2,
        "v128": {"sse4_1", "sse4_2", "ssse3", "popcnt"},
    },
    "aarch64": {
        "i8mm": {*_ARMV82, "i8mm"},
        "dotprod": _ARMV82,
        "neon": {"fp", "asimd"},
    },
    "armv7l": {"neon32": {"neon", "vfpv3"}},
    "riscv64": {"rvv": {"i", "m", "a", "f", "d", "c", "v"}},
}


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The feature flags of the first processor, empty where the system does not tell."""
    try:
        with open("/proc/cpuinfo") as file:
            text = file.read()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
        if name.strip() == "isa":
            # RISC-V: rv64imafdcv_zicsr: letters, then names.
            letters, *names = value.strip().split("_")
            return frozenset({*letters.removeprefix("rv64"), *names})
    return frozenset()


def available_levels() -> list[str]:
    """The levels that this machine can run, best first."""
    flags = cpu_flags()
    return [level for level, needed in _NEEDED.get(platform.machine(), {}).items() if needed <= flags]


def cpu_level() -> str:
    """The level to use: ``EDGEINFER_LEVEL`` if it is set, else the best one.

    Raises:
        KernelError: if the wanted level is unknown or this machine lacks it.
    """
    levels = available_levels()
    wanted = os.environ.get("EDGEINFER_LEVEL")
    if wanted:
        if wanted not in levels:
            raise KernelError(f"EDGEINFER_LEVEL={wanted}: this machine can run {', '.join(levels) or 'no level'}")
        return wanted
    if not levels:
        raise KernelError(
            f"this CPU ({platform.machine()}) has none of the feature sets that kernels exist for: "
            "at least SSE4.2 on x86-64, NEON on Arm, V on riscv64"
        )
    return levels[0]
