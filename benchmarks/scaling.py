"""How many times faster two threads are than one: ``python -m benchmarks.scaling [--models …]``.

Sessions with one and with two threads take turns as runtimes do in ``benchmarks.compare``: measured one after the
other they would tell how the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cases import Case, model_path, random_feeds
from benchmarks.compare import OURS, add_models, chosen_cases, take_turns
from benchmarks.peers import Job, make_runner


@dataclass(frozen=True)
class Scaling:
    """Median milliseconds of a case with one and with two threads, and the goal for how many times faster these are."""

    case: str
    one: float
    two: float
    goal: float


def measure_scaling(cases: Sequence[Case], seconds: float) -> list[Scaling]:
    """All cases, about ``seconds`` for each number of threads."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            path, feeds = model_path(case, Path(folder)), random_feeds(case)
            runners = {str(threads): make_runner(OURS, Job(path, feeds, threads)) for threads in (1, 2)}
            one, two = (float(np.median(times)) for times in take_turns(runners, seconds).values())
            found.append(Scaling(case.label, one, two, case.scaling_goal))
    return found


def scaling_table(rows: Sequence[Scaling]) -> str:
    """All cases in Markdown."""
    lines = ["| model | 1 thread | 2 threads | faster | goal |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.case} | {row.one:.2f} | {row.two:.2f} | **{row.one / row.two:.2f}** | {row.goal:g} |" for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser, seconds=4.0)
    arguments = parser.parse_args()
    print(scaling_table(measure_scaling(chosen_cases(arguments.models), arguments.seconds)))


if __name__ == "__main__":
    main()
