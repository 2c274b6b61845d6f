"""Times of whole models beside the peers: ``python -m benchmarks.compare [--models …] [--threads 1,2]``.

All runtimes get the same inputs and the same number of threads and take turns, A B C A B C …, so that a
machine whose speed drifts treats them alike. A turn is a pause, in which the worker threads of the runtime before
stop spinning, one run that is not counted, and three that are. Every output is compared with ONNX Runtime's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.models import build, real_model
from benchmarks.peers import RUNNERS, available

PAUSE_SECONDS = 0.1
RUNS_PER_TURN = 3


@dataclass(frozen=True)
class Case:
    """One model with one set of input shapes; ``real`` models come from packages, others are generated."""

    model: str
    shapes: dict[str, tuple[int, ...]]
    real: bool = False

    @property
    def label(self) -> str:
        """Model and picture size."""
        picture = next(iter(self.shapes.values()))
        return f"{self.model} {picture[-2]}x{picture[-1]}"


CASES = [
    Case("fast_neural_style_32", {"image": (1, 3, 256, 256)}),
    Case("fast_neural_style_16", {"image": (1, 3, 256, 256)}),
    Case("multistyle26", {"image": (1, 3, 256, 256), "style_weights": (26,)}, real=True),
    Case("multistyle26", {"image": (1, 3, 360, 640), "style_weights": (26,)}, real=True),
    Case("mobilenet_v2", {"image": (1, 3, 224, 224)}),
    Case("resnet18", {"image": (1, 3, 224, 224)}),
    Case("ppocr_v4_det", {"x": (1, 3, 320, 320)}, real=True),
]


@dataclass(frozen=True)
class Timing:
    """Median and minimum of one runtime in milliseconds, and its largest difference from ONNX Runtime's output."""

    median: float
    minimum: float
    difference: float


def model_path(case: Case, folder: Path) -> Path:
    """The ONNX file of a case, generated into ``folder`` unless it is a real model."""
    if case.real:
        return real_model(case.model)
    path = folder / f"{case.model}.onnx"
    if not path.exists():
        path.write_bytes(build(case.model).SerializeToString())
    return path


def random_feeds(case: Case) -> dict[str, np.ndarray]:
    """Random inputs in 0..1, always the same: pictures like printed pages, vectors that sum to 1."""
    generator = np.random.default_rng(0)
    feeds = {}
    for name, shape in case.shapes.items():
        values = generator.random(shape, dtype=np.float32)
        feeds[name] = values / values.sum() if len(shape) == 1 else page_of_strokes(generator, values)
    return feeds


def page_of_strokes(generator: np.random.Generator, noise: np.ndarray) -> np.ndarray:
    """Lines of dark strokes on light paper, with a little noise; float32 [1, 3, height, width]."""
    height, width = noise.shape[-2:]
    ink = generator.random((height // 4, width // 2)) < 0.5
    ink[np.arange(height // 4) % 6 > 3] = False
    ink = ink.repeat(4, axis=0).repeat(2, axis=1)
    page = np.full((height, width), 0.9, np.float32)
    page[: ink.shape[0], : ink.shape[1]][ink] = 0.1
    return page + np.float32(0.1) * noise


def relative_difference(outputs: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest difference of any output, relative to the range of the expected one."""
    pairs = zip(outputs, expected, strict=True)
    return max(float(np.abs(y - e).max() / max(np.ptp(e), 1e-12)) for y, e in pairs)


def measure(case: Case, path: Path, threads: int, seconds: float) -> dict[str, Timing]:
    """Run all runtimes in turn for about ``seconds`` each."""
    feeds = random_feeds(case)
    runners = {name: RUNNERS[name](path, feeds, threads) for name in available()}
    outputs = {name: run() for name, run in runners.items()}
    expected = outputs.get("onnxruntime", outputs["edgeinfer"])
    times: dict[str, list[float]] = {name: [] for name in runners}
    start = time.perf_counter()
    while len(times["edgeinfer"]) < 9 or time.perf_counter() - start < seconds * len(runners):
        for name, run in runners.items():
            time.sleep(PAUSE_SECONDS)
            run()
            for _ in range(RUNS_PER_TURN):
                before = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - before) * 1e3)
    return {
        name: Timing(float(np.median(values)), min(values), relative_difference(outputs[name], expected))
        for name, values in times.items()
    }


def print_table(rows: list[dict]) -> None:
    """Print medians in milliseconds, and our time as a share of each peer's."""
    names = [name for name in RUNNERS if name in rows[0]["timings"]]
    peers = [name for name in names if name != "edgeinfer"]
    header = [
        "model",
        "threads",
        *(f"{name} ms" for name in names),
        *(f"ratio to {name}" for name in peers),
        "difference",
    ]
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for row in rows:
        timings = row["timings"]
        ours = timings["edgeinfer"]["median"]
        cells = [row["case"], str(row["threads"]), *(f"{timings[name]['median']:.2f}" for name in names)]
        cells += [f"{ours / timings[name]['median']:.2f}" for name in peers]
        print("| " + " | ".join([*cells, f"{timings['edgeinfer']['difference']:.1e}"]) + " |", flush=True)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", help="comma-separated names; all by default")
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads (default 1,2)")
    parser.add_argument("--seconds", type=float, default=4.0, help="time for each runtime and case (default 4)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    wanted = set(arguments.models.split(",")) if arguments.models else {case.model for case in CASES}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if case.model not in wanted:
                continue
            path = model_path(case, Path(folder))
            for threads in map(int, arguments.threads.split(",")):
                timings = measure(case, path, threads, arguments.seconds)
                rows.append(
                    {"case": case.label, "threads": threads, "timings": {k: vars(v) for k, v in timings.items()}}
                )
                print(f"measured {case.label}, {threads} thread(s)", flush=True)
    print()
    print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
