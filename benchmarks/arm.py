"""Inner loops of the Arm kernels against what each core can issue: ``python -m benchmarks.arm``.

The loop of a kernel that holds the most multiply-adds is cut out of its assembly and given to ``llvm-mca`` with the
model of each core. Two bounds stand beside it: what the same model says of its multiply-adds alone, as if nothing had
to be loaded, and of multiply-adds and loads spread among them, where nothing waits for anything. No board is needed,
and nothing is said of caches.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

os.environ["NUMBA_OPT"] = "0"

from edgeinfer.codegen.compiler import kernel_assembly
from edgeinfer.kernels.registry import kernel_sources
from edgeinfer.simd.levels import LEVELS

TRIPLE = "aarch64-unknown-linux-gnu"
ITERATIONS = 200
# Bounds load into the four registers from here on; multiply-adds write those below, and read the last two of all.
# Single numbers of 16 bits are among the first 16 registers: bounds read them from one that they then do not write.
LOADED, OF_16_BITS = 26, 15
# How many loads stand together in the bound; the best counts.
RUNS_OF_LOADS = (1, 2, 4, 8)
# Kernels by level, and the cores that run it.
CORES = {
    "neon_in_order": ("cortex-a53",),
    "neon": ("cortex-a72",),
    "dotprod": ("cortex-a76", "neoverse-n1"),
}
_ARMV80 = (
    "f32_conv__8x8",
    "f32_conv__4x16",
    "f32_conv__14x4",
    "f32_winograd4x4__4x16",
    "qu8_pointwise__4x16",
    "qu8_pointwise__3x24",
)
KERNELS = {
    "neon_in_order": _ARMV80,
    "neon": (*_ARMV80, "f32_conv__7x12"),
    "dotprod": (
        "f32_conv__8x8",
        "f32_conv__4x16",
        "f32_conv__7x12",
        "f32_winograd4x4__4x16",
        "f16_conv__8x16",
        "f16_conv__4x32",
        "f16_conv__7x24",
        "f16_winograd2x2__8x16",
        "qu8_pointwise__5x16",
        "qu8_pointwise__7x12",
    ),
}
_PRODUCTS = re.compile(r"^\s*(fmla|sdot|sudot|usdot|smull|smlal2?|sadalp)\b")
_LOAD = re.compile(r"^\s*(ldr|ldur|ldp|ld1r?)\s+(\{? ?[qdsv]\d+[^\[]*),\s*\[(?!sp)")
_LABEL = re.compile(r"^(\.LBB\d+_\d+):")


def hot_loop(assembly: str) -> list[str]:
    """The instructions of the innermost loop with the most multiply-adds."""
    lines = [line for line in assembly.splitlines() if line.strip() and not line.strip().startswith(("//", "#"))]
    best: list[str] = []
    body: list[str] = []
    label = ""
    for line in lines:
        found = _LABEL.match(line)
        if found:
            label, body = found.group(1), []
            continue
        if line.strip().startswith("."):
            continue
        body.append(line)
        if label and re.match(rf"^\s*(b\.\w+|cbnz|cbz|b)\s.*{re.escape(label)}$", line):
            if products(body) > products(best):
                best = list(body)
            label = ""
    return best


def products(body: Sequence[str]) -> int:
    """Number of multiply-adds among instructions."""
    return sum(bool(_PRODUCTS.match(line)) for line in body)


def cycles(body: Sequence[str], core: str) -> float:
    """Cycles of one turn of a loop by llvm-mca's model of a core."""
    command = [
        "llvm-mca",
        f"-mtriple={TRIPLE}",
        f"-mcpu={core}",
        "-mattr=+dotprod,+fullfp16",
        f"-iterations={ITERATIONS}",
    ]
    done = subprocess.run(command, input="\n".join(body), capture_output=True, text=True, check=True)
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert found is not None
    return int(found.group(1)) / ITERATIONS


def independent(body: Sequence[str]) -> list[str]:
    """The multiply-adds of a loop without what they wait for: operands that nothing in the loop writes."""
    lines = [line for line in body if _PRODUCTS.match(line)]
    reserved = OF_16_BITS if any(".h[" in line for line in lines) else None
    targets = [number for number in range(LOADED) if number != reserved]
    chosen = []
    for index, line in enumerate(lines):
        name, operands = line.split(None, 1)
        target, *rest = [operand.strip() for operand in operands.split(",")]
        suffix = target.partition(".")[2]
        sources = [
            re.sub(r"^v\d+", f"v{OF_16_BITS if '.h[' in operand else 30 + place}", operand)
            for place, operand in enumerate(rest)
        ]
        chosen.append(f"\t{name}\tv{targets[index % len(targets)]}.{suffix}, {', '.join(sources)}")
    return chosen


def with_loads(body: Sequence[str], run: int) -> list[str]:
    """The multiply-adds of a loop and, evenly among them in runs of ``run``, its loads of vectors.

    Loads of registers that were spilt are left out.
    """
    found = [match for line in body if (match := _LOAD.match(line))]
    loads = [f"\t{match.group(1)}\t{_fixed(match.group(2))}, [x1]" for match in found]
    runs = [loads[at : at + run] for at in range(0, len(loads), run)]
    mixed: list[str] = []
    multiplications = independent(body)
    for index, line in enumerate(multiplications):
        first, last = (len(runs) * place // len(multiplications) for place in (index, index + 1))
        mixed += [*(load for group in runs[first:last] for load in group), line]
    return mixed


def _fixed(registers: str) -> str:
    """Registers of a load as some that no multiply-add uses."""
    numbers = iter(range(LOADED, LOADED + 4))
    return re.sub(r"([qdsv])\d+", lambda found: f"{found.group(1)}{next(numbers)}", registers.strip())


def measure(level: str, kernel: str, core: str) -> tuple[int, float, float, float]:
    """Multiply-adds of a loop's turn, its cycles, those of the multiply-adds alone, and of these with the loads."""
    source = kernel_sources(LEVELS[level])[f"{kernel}_{level}"]
    body = hot_loop(kernel_assembly(source, LEVELS[level], TRIPLE))
    alone = cycles(independent(body), core)
    loaded = min(cycles(with_loads(body, run), core) for run in RUNS_OF_LOADS)
    return products(body), cycles(body, core), alone, max(alone, loaded)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if shutil.which("llvm-mca") is None:
        sys.exit("llvm-mca is missing: apt-get install llvm")
    print(
        "| kernel | core | multiply-adds of a turn | cycles | multiply-adds alone | share | with their loads | share |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for level, cores in CORES.items():
        for kernel in KERNELS[level]:
            for core in cores:
                count, whole, alone, loaded = measure(level, kernel, core)
                print(
                    f"| {kernel}_{level} | {core} | {count} | {whole:.1f} | {alone:.1f} | {alone / whole:.0%} "
                    f"| {loaded:.1f} | **{loaded / whole:.0%}** |"
                )


if __name__ == "__main__":
    main()
