"""What ``benchmarks.arm_counts`` runs on an emulated processor: one runtime, one model, one run between two marks.

``python -m benchmarks.arm_counted RUNTIME MODEL PRECISION FEEDS OUTPUTS CONVERSION``: the model is an ONNX file, feeds
and outputs are ``.npz`` files, CONVERSION is the folder with the runtime's own form of the model, or empty.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.peers import RUNTIMES, Job

# The plugin prints its counts when the program asks for the group of such a process; there is none.
MARK = 0x1C0D0000


def mark(number: int) -> None:
    """Let the plugin print the counts so far."""
    with suppress(ProcessLookupError):
        os.getpgid(MARK + number)


def main() -> None:
    """Run once to warm up, then once between marks."""
    runtime, model, precision, feeds, outputs, conversion = sys.argv[1:]
    with np.load(feeds) as arrays:
        inputs = {name: arrays[name] for name in arrays.files}
    make_runner, _ = RUNTIMES[runtime]
    run = make_runner(Job(Path(model), inputs, 1, precision, Path(conversion) if conversion else None))
    results = run()
    mark(0)
    run()
    mark(1)
    np.savez(outputs, *results)


if __name__ == "__main__":
    main()
