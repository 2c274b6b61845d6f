"""Memory and start of every model beside ONNX Runtime: ``python -m benchmarks.memory``.

Each runtime loads and runs each model in a process of its own that has imported NumPy and made the inputs; what its
peak of resident memory grows by from there on is the runtime's and the model's. Ours loads an ``.edge`` file with
kernels compiled before, as a device does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

import converters
import edgeinfer
from benchmarks.cases import CASES, Case, model_path, random_feeds
from edgeinfer.runtime.threads import resolve_threads

RUNS = 5
PLANS = 15
# Processes of each runtime, in turns: the first large block of memory after a pause costs a virtual machine much more.
STARTS = 3
# An arena may be this many times as large as what no arrangement could go below.
ARENA_GOAL = 1.1
PLAN_GOAL_MS = 20.0

_CHILD = """
import json, sys, time
import numpy as np

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

runtime, model, feeds_file, threads, runs = *sys.argv[1:4], *map(int, sys.argv[4:])
feeds = dict(np.load(feeds_file))
before, start = peak(), time.perf_counter()
if runtime == "edgeinfer":
    import edgeinfer
    imported = time.perf_counter()
    session = edgeinfer.load(model, threads=threads)
    run = lambda: session.run(feeds)
else:
    import onnxruntime
    imported = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    run = lambda: session.run(None, feeds)
loaded = time.perf_counter()
run()
first = time.perf_counter()
for _ in range(runs):
    run()
milliseconds = [1e3 * (b - a) for a, b in ((start, imported), (imported, loaded), (loaded, first))]
print(json.dumps([(peak() - before) / 1e3, *milliseconds]))
"""


@dataclass(frozen=True)
class Start:
    """One process: megabytes that the peak grew by, milliseconds to import, to load, and of the first run."""

    megabytes: float
    import_ms: float
    load_ms: float
    first_ms: float


@dataclass(frozen=True)
class MemoryRow:
    """One case.

    Attributes:
        case: model and picture size.
        ours: our process.
        theirs: ONNX Runtime's.
        arena: bytes of the tensors in the arena.
        lower_bound: bytes that no arrangement of them could go below.
        weights: bytes of the packed weights.
        plan_ms: milliseconds of planning, the least of several, by number of threads: that of the measurement, and what
            ``edgeinfer.load`` takes by default.
    """

    case: str
    ours: Start
    theirs: Start
    arena: int
    lower_bound: int
    weights: int
    plan_ms: dict[int, float]


def start_process(runtime: str, model: Path, feeds: Path, threads: int) -> Start:
    """Load and run a model in a fresh process."""
    command = [sys.executable, "-c", _CHILD, runtime, str(model), str(feeds), str(threads), str(RUNS)]
    # Compiled modules are kept, as they are where nobody asks for the contrary.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return Start(*json.loads(done.stdout.splitlines()[-1]))


def median_starts(model: Path, edge: Path, feeds: Path, threads: int) -> tuple[Start, Start]:
    """Medians of several processes of ours and of ONNX Runtime's, in turns."""
    ours, theirs = [], []
    for _ in range(STARTS):
        ours.append(start_process("edgeinfer", edge, feeds, threads))
        theirs.append(start_process("onnxruntime", model, feeds, threads))
    return _median_start(ours), _median_start(theirs)


def _median_start(starts: list[Start]) -> Start:
    return Start(*(statistics.median(values) for values in zip(*map(astuple, starts), strict=True)))


def measure(case: Case, folder: Path, threads: int) -> MemoryRow:
    """Both runtimes on one case."""
    model, edge, feeds = model_path(case, folder), folder / "model.edge", folder / "feeds.npz"
    graph, _ = converters.convert(model)
    graph.save(edge)
    np.savez(feeds, **random_feeds(case))
    with edgeinfer.load(edge, threads) as session:
        session.run(random_feeds(case))
        plan = session.plan(case.shapes)
    planning = {count: planning_ms(edge, case, count) for count in (threads, resolve_threads("auto"))}
    ours, theirs = median_starts(model, edge, feeds, threads)
    return MemoryRow(
        case.label, ours, theirs, plan.activation_bytes, plan.lower_bound, plan.weights.data.nbytes, planning
    )


def planning_ms(edge: Path, case: Case, threads: int) -> float:
    """The least of several times that planning took."""
    times = []
    for _ in range(PLANS):
        with edgeinfer.load(edge, threads) as session:
            before = time.perf_counter()
            session.plan(case.shapes)
            times.append(1e3 * (time.perf_counter() - before))
    return min(times)


def memory_table(rows: list[MemoryRow]) -> str:
    """All rows in Markdown."""
    headers = [
        "model", "peak MB", "ONNX Runtime's", "tensors MB", "by the lower bound", "packed weights MB", "planning ms",
        "load ms", "ONNX Runtime's", "first run ms", "ONNX Runtime's",
    ]  # fmt: skip
    lines = [f"| {' | '.join(headers)} |", f"|{' --- |' * len(headers)}"]
    for row in rows:
        ours, theirs = row.ours, row.theirs
        planning = " / ".join(f"{milliseconds:.1f}" for milliseconds in row.plan_ms.values())
        cells = [
            row.case, f"**{ours.megabytes:.1f}**", f"{theirs.megabytes:.1f}", f"{row.arena / 1e6:.2f}",
            f"{row.arena / row.lower_bound:.3f}", f"{row.weights / 1e6:.2f}", planning,
            f"{ours.import_ms + ours.load_ms:.0f}", f"{theirs.import_ms + theirs.load_ms:.0f}", f"{ours.first_ms:.1f}",
            f"{theirs.first_ms:.1f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def missed(rows: list[MemoryRow]) -> list[str]:
    """The goals that are missed."""
    found = []
    for row in rows:
        if row.ours.megabytes >= row.theirs.megabytes:
            found.append(f"{row.case}: the peak is above ONNX Runtime's")
        if row.arena > ARENA_GOAL * row.lower_bound:
            found.append(f"{row.case}: the tensors take {row.arena / row.lower_bound:.2f} times the lower bound")
        for threads, milliseconds in row.plan_ms.items():
            if milliseconds >= PLAN_GOAL_MS:
                found.append(f"{row.case}: planning takes {milliseconds:.1f} ms with {threads} thread(s)")
    return found


def measure_all(threads: int = 1) -> list[MemoryRow]:
    """All cases."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            rows.append(measure(case, Path(folder), threads))
            print(f"measured memory of {case.label}", file=sys.stderr, flush=True)
    return rows


def section(rows: list[MemoryRow]) -> str:
    """The rows as a part of docs/performance.md."""
    goals = "\n".join(f"- {text}" for text in missed(rows)) or "All goals hold."
    return f"""## Memory and start

`make bench-memory`: each runtime in processes of its own, 1 thread, medians of {STARTS}; the peak is what resident
memory grows by from the moment NumPy is imported and the inputs are made. Planning packs the weights, by one thread /
by as many as a session has by default; a first run holds it. *By the lower bound*: bytes of the tensors in the arena by
the largest sum of tensors that live at one time (goal: {ARENA_GOAL}).

{memory_table(rows)}

Goals missed (peak below ONNX Runtime's; planning below {PLAN_GOAL_MS:.0f} ms):

{goals}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="number of threads (default 1)")
    rows = measure_all(parser.parse_args().threads)
    print(memory_table(rows))
    for text in missed(rows):
        print(f"missed: {text}")


if __name__ == "__main__":
    main()
