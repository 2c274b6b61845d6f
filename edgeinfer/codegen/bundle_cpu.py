"""LLVM text that asks a CPU whether it has what a level needs."""

from __future__ import annotations

from pathlib import Path
from string import Template

from edgeinfer.codegen.targets import Target

_FILES = Path(__file__).parent / "bundle_files"

# Bits of CPUID's words, as Intel's Software Developer's Manual numbers them (volume 2A, CPUID).
_SSE42 = 1 << 9 | 1 << 19 | 1 << 20 | 1 << 23
_AVX2 = _SSE42 | 1 << 12 | 1 << 22 | 1 << 27 | 1 << 28 | 1 << 29
_AVX2_LEAF7 = 1 << 3 | 1 << 5 | 1 << 8
_AVX512_LEAF7 = _AVX2_LEAF7 | 1 << 16 | 1 << 17 | 1 << 28 | 1 << 30 | 1 << 31
_VNNI = 1 << 11
_AVX_VNNI, _BF16 = 1 << 4, 1 << 5
_AMX = 1 << 22 | 1 << 24 | 1 << 25
# Registers that the system saves: SSE and AVX; AVX-512's too; and AMX's.
_YMM, _ZMM, _TMM = 0x06, 0xE6, 0x600E6

# By level: CPUID leaf 1 ECX, XCR0, leaf 7 EBX, leaf 7 ECX, leaf 7 EDX, leaf 7.1 EAX.
_X86_64 = {
    "v128": (_SSE42, 0, 0, 0, 0, 0),
    "avx2": (_AVX2, _YMM, _AVX2_LEAF7, 0, 0, 0),
    "avxvnni": (_AVX2, _YMM, _AVX2_LEAF7, 0, 0, _AVX_VNNI),
    "avx512": (_AVX2, _ZMM, _AVX512_LEAF7, 0, 0, 0),
    "vnni": (_AVX2, _ZMM, _AVX512_LEAF7, _VNNI, 0, 0),
    "bf16": (_AVX2, _ZMM, _AVX512_LEAF7, _VNNI, 0, _BF16),
    "amx": (_AVX2, _TMM, _AVX512_LEAF7, _VNNI, _AMX, _BF16),
}
# Linux gives tile registers to those processes alone that ask: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), see
# its Documentation/arch/x86/xstate.rst.
_ASK_FOR_TILE_REGISTERS = """\
  %status = call i64 @syscall(i64 158, i64 4131, i64 18, i64 0, i64 0, i64 0, i64 0)
  %allowed = icmp eq i64 %status, 0"""


# Levels above the architecture's first version: the least that ID_AA64ISAR1_EL1.I8MM must say.
_AARCH64 = {"dotprod": 0, "i8mm": 1}


def cpu_check(target: Target) -> str:
    """The function ``cpu_has_level`` as LLVM text; true where there is no way to ask, or nothing to ask for."""
    level = target.level
    if level.name in _AARCH64 and target.system != "macos":
        return Template((_FILES / "cpu_aarch64.ll").read_text()).substitute(i8mm=_AARCH64[level.name])
    if level.architecture != "x86_64":
        return "define internal i1 @cpu_has_level() #0 {\n  ret i1 true\n}"
    leaf1_ecx, xcr0, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf7_1_eax = _X86_64[level.name]
    return Template((_FILES / "cpu_x86_64.ll").read_text()).substitute(
        leaf1_ecx=leaf1_ecx,
        needs_avx="true" if xcr0 else "false",
        xcr0=xcr0,
        leaf7_ebx=leaf7_ebx,
        leaf7_ecx=leaf7_ecx,
        leaf7_edx=leaf7_edx,
        tile_registers=_tile_registers(target),
        leaf7_1_eax=leaf7_1_eax,
    )


def _tile_registers(target: Target) -> str:
    """How ``%allowed`` comes about, as LLVM text: other systems than Linux have no such registers."""
    needed = target.level.tile_registers
    if needed and target.system != "macos":
        return _ASK_FOR_TILE_REGISTERS
    allowed = int(not needed)
    return f"  %allowed = icmp eq i1 {allowed}, 1"
