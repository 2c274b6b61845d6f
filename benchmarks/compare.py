"""Times of whole models beside the peers: ``python -m benchmarks.compare [--models …] [--threads 1,2]``.

All runtimes get the same inputs and the same number of threads and take turns, A B C A B C …, so that a
machine whose speed drifts treats them alike. A turn is a pause, in which the worker threads of the runtime before
stop spinning, one run that is not counted, and three that are. Every output is compared with ONNX Runtime's: a
peer whose output is another one, or which cannot run the model, has no time; the reason stands below the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES, Case, model_path, random_feeds
from benchmarks.peers import RUNTIMES, Job, Runner, Unsupported, make_runner

PAUSE_SECONDS = 0.1
RUNS_PER_TURN = 3
FEWEST_TURNS = 3
# The largest difference from ONNX Runtime's output, as a share of its range, of an output that is the same.
TOLERANCE = 1e-2
OURS = "edgeinfer"
ORACLE = "ONNX Runtime"


@dataclass(frozen=True)
class Timing:
    """Median and minimum of one runtime in milliseconds, and its largest difference from ONNX Runtime's output."""

    median: float
    minimum: float
    difference: float


@dataclass(frozen=True)
class Row:
    """All runtimes on one case.

    Attributes:
        case: the case's label.
        threads: number of threads.
        goal: the goal for ``ratio``.
        timings: by runtime.
        failures: why other runtimes have no time.
    """

    case: str
    threads: int
    goal: float
    timings: dict[str, Timing]
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def best_peer(self) -> str:
        """The fastest other runtime."""
        return min((name for name in self.timings if name != OURS), key=lambda name: self.timings[name].median)

    @property
    def ratio(self) -> float:
        """Our median by the best peer's."""
        return self.timings[OURS].median / self.timings[self.best_peer].median


def relative_difference(outputs: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest difference of any output, relative to the range of the expected one; a batch of 1 may be dropped."""
    differences = []
    for y, e in zip(outputs, expected, strict=True):
        if y.shape not in (e.shape, e.shape[1:]):
            raise Unsupported(f"its output has the shape {y.shape} instead of {e.shape}")
        differences.append(float(np.abs(y.reshape(e.shape) - e).max() / max(np.ptp(e), 1e-12)))
    return max(differences)


def start_runtimes(job: Job) -> tuple[dict[str, Runner], dict[str, float], dict[str, str]]:
    """The runtimes that do the job, how far their outputs are from ONNX Runtime's, and why the others do not."""
    runners, differences, failures = {}, {}, {}
    expected = make_runner(ORACLE, job)()
    for name in RUNTIMES:
        try:
            run = make_runner(name, job)
            difference = relative_difference(run(), expected)
            if not difference <= TOLERANCE:
                raise Unsupported(f"its output is off by {difference:.2g} of the range")
        # Whatever a peer throws is a result; our own failure is not.
        except Exception as error:
            if name == OURS:
                raise
            failures[name] = reason_of(error)
        else:
            runners[name], differences[name] = run, difference
    return runners, differences, failures


def reason_of(error: Exception) -> str:
    """One line that says why a peer failed; the whole message goes to stderr."""
    text = str(error).strip() or repr(error)
    print(text, file=sys.stderr)
    line = " ".join(text.splitlines()[0].split())
    return line if len(line) <= 160 else line[:160] + " …"


def measure(case: Case, path: Path, threads: int, seconds: float) -> Row:
    """Run all runtimes in turn for about ``seconds`` each."""
    runners, differences, failures = start_runtimes(Job(path, random_feeds(case), threads))
    times = take_turns(runners, seconds)
    timings = {name: Timing(float(np.median(t)), min(t), differences[name]) for name, t in times.items()}
    return Row(case.label, threads, case.goal, timings, failures)


def take_turns(runners: Mapping[str, Runner], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of all counted runs of each runtime, about ``seconds`` each."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    start = time.perf_counter()
    turns = 0
    while turns < FEWEST_TURNS or time.perf_counter() - start < seconds * len(runners):
        turns += 1
        for name, run in runners.items():
            time.sleep(PAUSE_SECONDS)
            run()
            for _ in range(RUNS_PER_TURN):
                before = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - before) * 1e3)
    return times


def measure_all(cases: Sequence[Case], threads: Sequence[int], seconds: float) -> list[Row]:
    """All cases with all numbers of threads."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            path = model_path(case, Path(folder))
            for count in threads:
                rows.append(measure(case, path, count, seconds))
                print(f"measured {case.label}, {count} thread(s)", flush=True)
    return rows


def table(rows: Sequence[Row]) -> str:
    """Medians in milliseconds, our time as a share of the best peer's beside the goal; below, why some are missing."""
    header = ["model", "threads", *RUNTIMES, "best peer", "ratio", "goal", "difference"]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    for row in rows:
        timings = row.timings
        cells = [row.case, str(row.threads)]
        cells += [f"{timings[name].median:.2f}" if name in timings else "-" for name in RUNTIMES]
        cells += [row.best_peer, f"**{row.ratio:.2f}**", f"{row.goal:g}", f"{timings[OURS].difference:.0e}"]
        lines.append("| " + " | ".join(cells) + " |")
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, reason in row.failures.items():
            reasons.setdefault((name, reason), []).append(f"{row.case} ({row.threads})")
    if reasons:
        lines.append("")
    for (name, reason), cases in reasons.items():
        where = "all models" if len(cases) == len(rows) else ", ".join(cases)
        lines.append(f"- {name}, {where}: {reason}")
    return "\n".join(lines)


def rows_as_json(rows: Sequence[Row]) -> list[dict]:
    """Plain values for a JSON file."""
    return [asdict(row) for row in rows]


def rows_from_json(values: Sequence[dict]) -> list[Row]:
    """The counterpart of ``rows_as_json``."""
    return [Row(**{**v, "timings": {name: Timing(**t) for name, t in v["timings"].items()}}) for v in values]


def add_models(parser: argparse.ArgumentParser, seconds: float) -> None:
    """Which cases to measure, and for how long."""
    parser.add_argument("--models", help="comma-separated names; all by default")
    parser.add_argument(
        "--seconds", type=float, default=seconds, help=f"time for each that takes turns (default {seconds:g})"
    )


def add_arguments(parser: argparse.ArgumentParser, seconds: float) -> None:
    """What to measure, and for how long."""
    add_models(parser, seconds)
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads (default 1,2)")


def chosen_cases(models: str | None) -> list[Case]:
    """The cases of some models, all by default."""
    if models is None:
        return CASES
    known = {case.model for case in CASES}
    wanted = models.split(",")
    if unknown := [model for model in wanted if model not in known]:
        raise SystemExit(f"unknown model {unknown[0]}; known are {', '.join(sorted(known))}")
    return [case for case in CASES if case.model in wanted]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, seconds=4.0)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    threads = [int(count) for count in arguments.threads.split(",")]
    rows = measure_all(chosen_cases(arguments.models), threads, arguments.seconds)
    print(f"\n{table(rows)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows_as_json(rows), indent=1))


if __name__ == "__main__":
    main()
