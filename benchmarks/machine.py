"""What this machine can do at most: multiply-adds a second, bytes a second; ``python -m benchmarks.machine``."""

from __future__ import annotations

import ctypes
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from edgeinfer.runtime.cpu import cpu_level
from edgeinfer.simd.levels import LEVELS, Level

REPEATS = 12
# Far more than any cache holds; and less than the second-level cache of one core.
MEMORY_BYTES = 256 << 20
CACHE_BYTES = 384 << 10


@dataclass(frozen=True)
class Machine:
    """A machine's bounds for one number of threads.

    Attributes:
        name: the processor.
        level: CPU level of the kernels.
        threads: number of threads.
        peak: float32 operations a second, a multiply-add being two.
        memory: bytes a second read and written by a copy in main memory.
        cache: the same in the second-level caches.
    """

    name: str
    level: str
    threads: int
    peak: float
    memory: float
    cache: float


def measure_machine(threads: int) -> Machine:
    """The bounds of this machine."""
    level = cpu_level()
    peak = peak_operations(LEVELS[level], threads)
    memory, cache = copy_bandwidth(MEMORY_BYTES, threads), copy_bandwidth(CACHE_BYTES, threads)
    return Machine(processor_name(), level, threads, peak, memory, cache)


def processor_name() -> str:
    """The processor's name as the system tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def peak_operations(level: Level, threads: int) -> float:
    """Float32 operations a second of independent multiply-adds on a tile of registers, nothing loaded or stored."""
    # Enough chains to hide the latency, with two registers left for the factors.
    tile = 24 if level.registers == 32 else 12
    engine = _compiled(_multiply_add_loop(tile, level.lanes), level)
    loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(engine.get_function_address("multiply_adds"))
    count = 2_000_000
    registers = [np.ones((tile + 2) * level.lanes, np.float32) for _ in range(threads)]
    seconds = _fastest([lambda r=r: loop(r.ctypes.data, count) for r in registers])
    return 2 * level.lanes * tile * count * threads / seconds


def copy_bandwidth(size: int, threads: int) -> float:
    """Bytes a second, read and written, of every thread copying half of ``size`` bytes of its own to the other half."""
    count = size // 8
    copies = max(1, (64 << 20) // size)
    pairs = [(np.ones(count, np.float32), np.zeros(count, np.float32)) for _ in range(threads)]

    def copy(source: np.ndarray, target: np.ndarray) -> None:
        for _ in range(copies):
            np.copyto(target, source)

    seconds = _fastest([lambda pair=pair: copy(*pair) for pair in pairs])
    return 2 * 4 * count * copies * threads / seconds


def _fastest(works: list[Callable[[], None]]) -> float:
    """Seconds that all works take side by side, a thread each; the fastest of several rounds.

    A round lasts from the first thread's start to the last one's end by their own clocks: another thread may look at
    its clock long after they started.
    """
    barrier = threading.Barrier(len(works))
    spans = np.empty((len(works), REPEATS, 2))

    def worker(index: int) -> None:
        for repeat in range(REPEATS):
            barrier.wait()
            spans[index, repeat, 0] = time.perf_counter()
            works[index]()
            spans[index, repeat, 1] = time.perf_counter()

    threads = [threading.Thread(target=worker, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return float(np.min(spans[:, :, 1].max(axis=0) - spans[:, :, 0].min(axis=0)))


def _multiply_add_loop(tile: int, lanes: int) -> str:
    """LLVM IR of ``multiply_adds(registers, count)``: count times, every register of the tile += a * b."""
    vector = f"<{lanes} x float>"
    fma = f"@llvm.fma.v{lanes}f32"
    loads = [
        f"%p{i} = getelementptr {vector}, ptr %registers, i64 {i}\n  %start{i} = load {vector}, ptr %p{i}, align 4"
        for i in range(tile + 2)
    ]
    phis = [f"%x{i} = phi {vector} [%start{i}, %entry], [%y{i}, %loop]" for i in range(tile)]
    steps = [
        f"%y{i} = call {vector} {fma}({vector} %start{tile}, {vector} %start{tile + 1}, {vector} %x{i})"
        for i in range(tile)
    ]
    stores = [f"store {vector} %y{i}, ptr %p{i}, align 4" for i in range(tile)]
    return "\n  ".join(
        [
            f"declare {vector} {fma}({vector}, {vector}, {vector})\n",
            "define void @multiply_adds(ptr %registers, i64 %count) {\nentry:",
            *loads,
            "br label %loop\nloop:",
            "%i = phi i64 [0, %entry], [%next, %loop]",
            *phis,
            *steps,
            "%next = add i64 %i, 1",
            "%more = icmp slt i64 %next, %count",
            "br i1 %more, label %loop, label %done\ndone:",
            *stores,
            "ret void\n}",
        ]
    )


def _compiled(text: str, level: Level) -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=level.cpu, features=level.features, opt=2)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    return engine


def main() -> None:
    """Print the bounds for one thread and two."""
    for threads in (1, 2):
        m = measure_machine(threads)
        print(
            f"{m.name}, {m.level}, {threads} thread(s): {m.peak / 1e9:.0f} GFLOP/s, "
            f"memory {m.memory / 1e9:.1f} GB/s, second-level cache {m.cache / 1e9:.0f} GB/s"
        )


if __name__ == "__main__":
    main()
