"""CPU levels: what the vectors of each look like and how LLVM is told about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Level:
    """One set of CPU features that kernels are compiled for.

    Attributes:
        name: short name, the last part of kernel names.
        architecture: the machine's name as ``platform.machine()`` gives it.
        lanes: float32 elements of one vector register.
        registers: number of vector registers.
        cpu: LLVM's name of the CPU.
        features: further LLVM features, ``+a,-b``.
        needs: the CPU features in words.
        by_lane: whether multiply-adds can take one lane of a vector as a factor.
        in_order: whether inner loops of floats are for cores that do everything in order; others have more to execute.
        float16: whether there is float16 arithmetic, with twice the lanes of float32.
        tile_registers: whether there are registers of tiles beside vectors, with instructions that multiply matrices.
        cache_bytes: how much of a worker's own data stays in its core's cache, about half of the second level.
        dot: how products of bytes are added up, see ``edgeinfer.simd.byte_tile``.
        base: the level below, whose tiles a kernel has here where it names none for this level.
        like: a level of another architecture with as many lanes and registers, whose tiles serve here too.
        abi: LLVM's name of the calling convention, where the architecture has several.
    """

    name: str
    architecture: str
    lanes: int
    registers: int
    cpu: str
    features: str = ""
    needs: str = ""
    by_lane: bool = False
    in_order: bool = False
    float16: bool = False
    tile_registers: bool = False
    cache_bytes: int = 256 * 1024
    dot: str = "pairs"
    base: str = ""
    like: str = ""
    abi: str = ""

    @property
    def byte_traits(self) -> dict[str, int | float]:
        """What the planner must know of ``dot``.

        What x is less than unsigned bytes (128: it is signed), whether weights lie in halves of quads, and depthwise
        ones in quads, the channels of a block out of which four vectors take four each there, whether tiles of an even
        number of rows multiply matrices, and what products of a vector of quads take in direct convolutions, and of a
        vector of pairs of words in Winograd's, in the time of a vector multiply-add as measured on Emerald Rapids and
        Zen 3.
        """
        return {
            "x_offset": 128 if self.dot in ("sdot", "smull") else 0,
            "halves": int(self.dot == "smull"),
            "quads": int(self.dot in ("sdot", "usdot") or self.architecture == "x86_64"),
            "blocks": 16 if self.architecture == "x86_64" else 0,
            "matrices": int(self.dot == "usdot"),
            "quad_cost": 1.1 if self.dot == "vpdpbusd" else 3.4,
            "word_cost": 1.2 if self.dot == "vpdpbusd" else 1.5,
        }

    @property
    def memory_traits(self) -> dict[str, int | float]:
        """What the planner must know of memory where it is slower, beside arithmetic, than on other processors.

        ``weight_bytes``: of weights, how many arrive from beyond a core's second-level cache in the time of a vector
        multiply-add, as measured on Granite Rapids: 16 lines on their way at a time, for 90 ns each.
        ``picture_bytes``: how large a whole picture's transformed input may be, lest its filters be read twice.
        """
        return {"weight_bytes": 2, "picture_bytes": 900 * 1024} if self.tile_registers else {}

    @property
    def has_floats_of_base(self) -> bool:
        """Whether its float32 kernels are those of ``base``, or what LLVM makes of them with further instructions."""
        return bool(self.base) and LEVELS[self.base].in_order == self.in_order

    @property
    def fuses(self) -> bool:
        """Whether vectors have multiply-adds that round once."""
        return self.architecture in ("aarch64", "riscv64") or (self.architecture == "x86_64" and self.name != "v128")

    @property
    def keeps_nan(self) -> bool:
        """Whether one instruction gives the greater of two numbers, or NaN if either is."""
        return self.architecture == "aarch64"

    @property
    def pointer_bits(self) -> int:
        """Bits of an address and of C's ``long``."""
        return 32 if self.architecture in ("armv7l", "wasm32") else 64


LEVELS = {
    level.name: level
    for level in (
        Level(
            "amx", "x86_64", 16, 32, "x86-64-v4",
            "-prefer-256-bit,+avx512vnni,+avx512bf16,+amx-tile,+amx-int8,+amx-bf16",
            "AVX-512 F, BW, CD, DQ, VL, VNNI, BF16, AMX TILE, INT8, BF16", tile_registers=True,
            cache_bytes=1024 * 1024, dot="vpdpbusd", base="bf16",
        ),
        Level(
            "bf16", "x86_64", 16, 32, "x86-64-v4", "-prefer-256-bit,+avx512vnni,+avx512bf16",
            "AVX-512 F, BW, CD, DQ, VL, VNNI, BF16", cache_bytes=512 * 1024, dot="vpdpbusd", base="vnni",
        ),
        Level(
            "vnni", "x86_64", 16, 32, "x86-64-v4", "-prefer-256-bit,+avx512vnni", "AVX-512 F, BW, CD, DQ, VL, VNNI",
            cache_bytes=512 * 1024, dot="vpdpbusd", base="avx512",
        ),
        Level(
            "avx512", "x86_64", 16, 32, "x86-64-v4", "-prefer-256-bit", "AVX-512 F, BW, CD, DQ, VL",
            cache_bytes=512 * 1024,
        ),
        Level(
            "avxvnni", "x86_64", 8, 16, "x86-64-v3", "+avxvnni", "AVX2, FMA, F16C, BMI, AVX-VNNI",
            dot="vpdpbusd", base="avx2",
        ),
        Level("avx2", "x86_64", 8, 16, "x86-64-v3", "", "AVX2, FMA, F16C, BMI"),
        Level("v128", "x86_64", 4, 16, "x86-64-v2", "", "SSE4.2"),
        Level(
            "i8mm", "aarch64", 4, 32, "cortex-a76", "+i8mm,-rcpc,-ssbs", "Armv8.2-A with float16, dotprod, i8mm",
            by_lane=True, float16=True, dot="usdot", base="dotprod",
        ),
        Level(
            "dotprod", "aarch64", 4, 32, "cortex-a76", "-rcpc,-ssbs", "Armv8.2-A with float16, dotprod",
            by_lane=True, float16=True, dot="sdot", base="neon",
        ),
        # LLVM's model of the Cortex-A53 serves other cores too: no loop takes longer on a Cortex-A72 than by its own.
        Level(
            "neon_in_order", "aarch64", 4, 32, "cortex-a53", "-crypto,-crc",
            "Armv8.0-A with NEON; for cores in order (Cortex-A34, A35, A53)", by_lane=True, in_order=True, dot="smull",
            base="neon",
        ),
        Level("neon", "aarch64", 4, 32, "cortex-a53", "-crypto,-crc", "Armv8.0-A with NEON", by_lane=True, dot="smull"),
        Level("neon32", "armv7l", 4, 16, "cortex-a9", "", "Armv7-A with NEON", like="v128"),
        Level(
            "rvv", "riscv64", 4, 32, "generic-rv64", "+m,+a,+f,+d,+c,+v", "RV64GC with V (vectors of 128 bits)",
            like="neon", abi="lp64d",
        ),
        Level(
            "simd128", "wasm32", 4, 16, "generic", "+simd128,+bulk-memory", "WebAssembly with SIMD, bulk memory",
            like="v128",
        ),
    )
}  # fmt: skip


def at_level(by_level: Mapping[str, Value], level: Level) -> Value | None:
    """The entry of a level, else that of its base or of the level it is like, and so on; None if there is none."""
    name = level.name
    while name:
        if name in by_level:
            return by_level[name]
        name = LEVELS[name].base or LEVELS[name].like
    return None
