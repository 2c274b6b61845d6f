"""Many runs, and memory that stays flat: ``python -m benchmarks.soak [--runs 10000]``.

One session runs alone; then two sessions run side by side, each called by a thread of its own, with the shapes of their
inputs changing from time to time so that plans are made and forgotten. The process fails if its memory grows.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer.runtime.session import Session
from edgeinfer.video.shipped_model import shipped_model

SIZES = (32, 40, 48, 56, 64, 36)
RUNS_PER_SIZE = 10
SAMPLES = 20
ALLOWED_GROWTH = 2 << 20


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def feeds_of(size: int) -> dict[str, np.ndarray]:
    """A picture and a style for multistyle26."""
    return {"image": np.full((1, 3, size, size), 0.5, np.float32), "style_weights": np.eye(26, dtype=np.float32)[3]}


def run_many(session: Session, runs: int, first: int = 0) -> None:
    """Run a session; every few runs with another picture size."""
    for index in range(first, first + runs):
        session.run(feeds_of(SIZES[index // RUNS_PER_SIZE % len(SIZES)]))


def growth(work: Callable[[int, int], None], runs: int) -> list[int]:
    """Resident memory after each of several parts of the runs; ``work(count, first)`` does a part."""
    part, samples = max(1, runs // SAMPLES), []
    for index in range(SAMPLES):
        work(part, index * part)
        samples.append(resident_bytes())
    return samples


def is_flat(samples: list[int]) -> bool:
    """Whether memory in the second half of the runs is that at their middle."""
    half = samples[len(samples) // 2 :]
    return max(half) - half[0] <= ALLOWED_GROWTH


def side_by_side(sessions: tuple[Session, Session], runs: int, first: int) -> None:
    """Both sessions at once, a thread for each."""
    threads = [threading.Thread(target=run_many, args=(session, runs, first)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Run, print memory, and say whether it is flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="runs of each part (default 10000)")
    runs = parser.parse_args().runs
    model = shipped_model()
    with edgeinfer.load(model, threads=2) as one, edgeinfer.load(model, threads=2) as other:
        parts = {
            "one session": lambda count, first: run_many(one, count, first),
            "two sessions at once": lambda count, first: side_by_side((one, other), count, first),
        }
        flat = True
        for name, work in parts.items():
            samples = growth(work, runs)
            flat = flat and is_flat(samples)
            shown = ", ".join(f"{sample / 1e6:.1f}" for sample in samples)
            print(f"{name}, {runs} runs: MB {shown}: {'flat' if is_flat(samples) else 'GROWING'}", flush=True)
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
