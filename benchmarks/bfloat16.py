"""Times of the style models in bfloat16 beside float32 and OpenVINO: ``python -m benchmarks.bfloat16``.

Runtimes take turns as in ``benchmarks.compare``. *Share* is our time in bfloat16 by our own in float32, *ratio* that by
OpenVINO's in bfloat16. *Error* is the root mean square of what bfloat16 changes, by the standard deviation of float32's
output.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES, Case, model_path, random_feeds
from benchmarks.compare import OURS, take_turns
from benchmarks.markdown import markdown_table
from benchmarks.peers import Job, make_runner

PEER = "OpenVINO"
STYLE_MODELS = ("fast_neural_style_32", "fast_neural_style_16", "multistyle26")
# The largest share of our own time in float32, and of the peer's, that we want to need.
SHARE_GOAL, RATIO_GOAL = 0.6, 1.0
HEADER = ["model", "threads", "float32", "bfloat16", f"{PEER} bfloat16", "share", "goal", "ratio", "goal", "error"]


def measure(case: Case, path: Path, threads: int, seconds: float) -> list[str]:
    """One row of the table."""
    feeds = random_feeds(case)
    runners = {
        "float32": make_runner(OURS, Job(path, feeds, threads)),
        "bfloat16": make_runner(OURS, Job(path, feeds, threads, "bfloat16")),
        PEER: make_runner(PEER, Job(path, feeds, threads, "bfloat16")),
    }
    expected, y = runners["float32"]()[0], runners["bfloat16"]()[0]
    error = float(np.sqrt(np.mean((y - expected) ** 2)) / np.std(expected))
    medians = [float(np.median(times)) for times in take_turns(runners, seconds).values()]
    share, ratio = medians[1] / medians[0], medians[1] / medians[2]
    times = [f"{median:.2f}" for median in medians]
    goals = [f"**{share:.2f}**", f"{SHARE_GOAL:g}", f"**{ratio:.2f}**", f"{RATIO_GOAL:g}"]
    return [case.label, str(threads), *times, *goals, f"{error:.2%}"]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each runtime and case (default 3)")
    seconds = parser.parse_args().seconds
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if case.model in STYLE_MODELS:
                path = model_path(case, Path(folder))
                rows += [measure(case, path, threads, seconds) for threads in (1, 2)]
                print(f"measured {case.label}", flush=True)
    print(f"\n{markdown_table(HEADER, rows)}")


if __name__ == "__main__":
    main()
