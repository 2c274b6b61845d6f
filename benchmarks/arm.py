"""Inner loops of the Arm kernels against what each core can issue: ``python -m benchmarks.arm``.

The loop of a kernel that holds the most multiply-adds is cut out of its assembly and given to ``llvm-mca`` with the
model of each core; the bound is what the same model says of its multiply-adds alone, as if nothing had to be loaded.
No board is needed, and nothing is said of caches.
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
# Kernels by level, and the cores that run it.
CORES = {
    "neon": ("cortex-a53", "cortex-a72"),
    "dotprod": ("cortex-a76", "neoverse-n1"),
}
KERNELS = {
    "neon": ("f32_conv__8x8", "f32_conv__4x16", "f32_winograd4x4__8x8", "qu8_conv__4x16"),
    "dotprod": ("f32_conv__8x8", "f32_conv__4x16", "f32_winograd4x4__8x8", "qu8_conv__8x8", "qu8_conv__4x16"),
}
_PRODUCTS = re.compile(r"^\s*(fmla|sdot|sudot|usdot|smull|smlal2?|sadalp)\b")
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
    command = ["llvm-mca", f"-mtriple={TRIPLE}", f"-mcpu={core}", "-mattr=+dotprod", f"-iterations={ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(body), capture_output=True, text=True, check=True)
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert found is not None
    return int(found.group(1)) / ITERATIONS


def independent(body: Sequence[str]) -> list[str]:
    """The multiply-adds of a loop without what they wait for: operands that nothing in the loop writes."""
    chosen = []
    for index, line in enumerate(line for line in body if _PRODUCTS.match(line)):
        name, operands = line.split(None, 1)
        target, *rest = [operand.strip() for operand in operands.split(",")]
        suffix = target.partition(".")[2]
        sources = [re.sub(r"^v\d+", f"v{30 + place}", operand) for place, operand in enumerate(rest)]
        chosen.append(f"\t{name}\tv{index % 28}.{suffix}, {', '.join(sources)}")
    return chosen


def measure(level: str, kernel: str, core: str) -> tuple[int, float, float]:
    """Multiply-adds of a loop's turn, its cycles, and the cycles of the multiply-adds alone."""
    source = kernel_sources(LEVELS[level])[f"{kernel}_{level}"]
    body = hot_loop(kernel_assembly(source, LEVELS[level], TRIPLE))
    return products(body), cycles(body, core), cycles(independent(body), core)


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if shutil.which("llvm-mca") is None:
        sys.exit("llvm-mca is missing: apt-get install llvm")
    print("| kernel | core | multiply-adds of a turn | cycles | their own | share |")
    print("| --- | --- | --- | --- | --- | --- |")
    for level, cores in CORES.items():
        for kernel in KERNELS[level]:
            for core in cores:
                count, whole, bound = measure(level, kernel, core)
                print(f"| {kernel}_{level} | {core} | {count} | {whole:.1f} | {bound:.1f} | **{bound / whole:.0%}** |")


if __name__ == "__main__":
    main()
