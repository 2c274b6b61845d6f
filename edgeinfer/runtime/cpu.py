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
        "amx": {*_AVX512, "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"},
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
        "neon_in_order": {"fp", "asimd"},
        "neon": {"fp", "asimd"},
    },
    "armv7l": {"neon32": {"neon", "vfpv3"}},
    "riscv64": {"rvv": {"i", "m", "a", "f", "d", "c", "v"}},
}
WITH_TILE_REGISTERS = "amx"
# Linux's numbers on x86-64.
_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18
# The level for cores that do everything in order, and those cores of Armv8.0 as (implementer, part): Cortex-A34, A53,
# A35, and Qualcomm's Kryo 2xx Silver, which is a Cortex-A53.
_FOR_CORES_IN_ORDER = "neon_in_order"
_CORES_IN_ORDER = {("0x41", "0xd02"), ("0x41", "0xd03"), ("0x41", "0xd04"), ("0x51", "0x801")}


@functools.cache
def cpuinfo() -> str:
    """What Linux tells of the processors, empty where the system does not tell."""
    try:
        with open("/proc/cpuinfo") as file:
            return file.read()
    except OSError:
        return ""


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The feature flags of the first processor; Linux names those alone that all processors have."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
        if name.strip() == "isa":
            # RISC-V: rv64imafdcv_zicsr: letters, then names.
            letters, *names = value.strip().split("_")
            return frozenset({*letters.removeprefix("rv64"), *names})
    return frozenset()


def has_cores_in_order(cpuinfo: str) -> bool:
    """Whether any core of Armv8.0 does everything in order."""
    implementer = ""
    for line in cpuinfo.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "CPU implementer":
            implementer = value
        elif name == "CPU part" and (implementer, value) in _CORES_IN_ORDER:
            return True
    return False


def levels_of(architecture: str, cpuinfo: str) -> list[str]:
    """The levels that a machine can run, best first.

    Every Armv8 core runs loops for cores in order. They are best as soon as one core is in order: by LLVM's models
    other loops take such a core a quarter longer, while they take no longer on a core out of order, where they are
    some three in a hundred instructions more.
    """
    flags = cpu_flags(cpuinfo)
    levels = [level for level, needed in _NEEDED.get(architecture, {}).items() if needed <= flags]
    if not has_cores_in_order(cpuinfo):
        levels.sort(key=lambda level: level == _FOR_CORES_IN_ORDER)
    return levels


@functools.cache
def tile_registers_allowed() -> bool:
    """Ask Linux for this process's use of AMX's tile registers, which it gives to those alone that ask for them.

    Source: Linux, Documentation/arch/x86/xstate.rst.
    """
    import ctypes

    try:
        return int(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)) == 0
    except (OSError, AttributeError):
        return False


def available_levels() -> list[str]:
    """The levels that this machine and its system can run, best first."""
    levels = levels_of(platform.machine(), cpuinfo())
    return [level for level in levels if level != WITH_TILE_REGISTERS or tile_registers_allowed()]


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
