"""Executed instructions of an inference on arm64 processors beside the peers': ``python -m benchmarks.arm_counts``.

For Debian on x86-64, as root. Models run on one thread under qemu with a plugin that counts instructions
(``benchmarks/icount.c``); the arm64 Python and the aarch64 wheels come by ``tests/arm/arm64.py``,
in the versions installed here. Counts are the same whatever else the machine does; they are no times. A peer whose
outputs are not ONNX Runtime's does not count.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES, Case, model_path, random_feeds
from benchmarks.compare import OURS, relative_difference
from benchmarks.peers import Job, Unsupported, make_runner, mnn, ncnn

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "benchmarks" / "icount.c"
ORACLE = "ONNX Runtime"
PEERS = (ORACLE, "ncnn", "MNN")
CONVERSIONS = {"ncnn": ncnn.conversion, "MNN": mnn.conversion}
WHEELS = ("numpy", "onnx", "onnxruntime", "ncnn", "MNN")
# Packs by processor.
TARGETS = {"cortex-a72": "aarch64", "neoverse-n1": "aarch64+dotprod"}
# The largest difference from ONNX Runtime's outputs, as a share of their range. Integers are compared with ONNX
# Runtime's on the same processor: its products are exact there, and saturate on x86 without VNNI.
TOLERANCES = {"float32": 1e-2, "float16": 5e-2, "int8": 1e-2}
# Sums in float16 put single pixels of fast_neural_style_16 off by 6 % in ncnn.
PEER_TOLERANCES = {**TOLERANCES, "float16": 1e-1}


@dataclass(frozen=True)
class Count:
    """One row of the table: what is counted, and the goal.

    Attributes:
        model: name of the first case of this model.
        numbers: ``float32``, ``float16`` or ``int8`` (ONNX Runtime's QDQ).
        processor: the emulated processor.
        peers: the runtimes to count.
        most: the most instructions that we want to need, in millions; 0 for none.
        share: the largest share of the best of ``against`` that we want to need; 0 for none.
        against: the peers for ``share``.
    """

    model: str
    numbers: str
    processor: str
    peers: tuple[str, ...] = PEERS
    most: float = 0
    share: float = 0
    against: tuple[str, ...] = PEERS


COUNTS = [
    Count("mobilenet_v2", "float32", "cortex-a72", most=95),
    Count("fast_neural_style_16", "float32", "cortex-a72", most=620),
    Count("resnet18", "float32", "cortex-a72", share=0.85),
    Count("multistyle26", "float32", "cortex-a72", share=0.85),
    Count("efficientnet_lite0", "float32", "cortex-a72"),
    Count("mobilenet_v2", "float32", "neoverse-n1", most=95),
    Count("mobilenet_v2", "float16", "neoverse-n1", ("ncnn",), share=0.95, against=("ncnn",)),
    Count("fast_neural_style_16", "float16", "neoverse-n1", ("ncnn",), share=0.95, against=("ncnn",)),
    Count("mobilenet_v2", "int8", "cortex-a72", (ORACLE,), share=0.7, against=(ORACLE,)),
    Count("mobilenet_v2", "int8", "neoverse-n1", (ORACLE,), share=0.7, against=(ORACLE,)),
]


def main() -> None:
    """Parse the command line, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help="comma-separated names; all by default")
    parser.add_argument("--numbers", help="float32, float16 or int8; all by default")
    arguments = parser.parse_args()
    counts = [count for count in COUNTS if arguments.models is None or count.model in arguments.models.split(",")]
    counts = [count for count in counts if arguments.numbers in (None, count.numbers)]
    if not counts:
        sys.exit(f"nothing to count; known models are {', '.join(sorted({count.model for count in COUNTS}))}")
    machine = Machine({count.processor for count in counts})
    rows, reasons = [], []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            cells, failures = row_of(count, machine, Path(folder))
            rows.append(cells)
            reasons += [f"- {runtime}, {count.model} {count.numbers}: {why}" for runtime, why in failures.items()]
            print(f"counted {' | '.join(cells)}", flush=True)
    print("\n" + "\n".join([table(rows), "", *reasons]))


class Machine:
    """The emulated processors with their Python, wheels, packs and counting plugin.

    Args:
        processors: those that are needed, keys of TARGETS.
    """

    def __init__(self, processors: Set[str]) -> None:
        sys.path.insert(0, str(ROOT / "tests" / "arm"))
        import arm64

        self.arm64 = arm64
        needed = [*arm64.missing_programs(), *([] if shutil.which("gcc") else ["gcc"])]
        if needed:
            sys.exit(f"these are missing: apt-get install {' '.join(needed)}")
        arm64.make_root()
        self.site = arm64.install([f"{name}=={version(name)}" for name in WHEELS])
        self.plugin = arm64.HOME / "icount.so"
        arm64.call("gcc", "-O2", "-shared", "-fPIC", "-o", self.plugin, PLUGIN)
        self.packs = arm64.HOME / "counted-packs"
        cli = "import sys; from edgeinfer.cli import main; sys.exit(main(sys.argv[1:]))"
        for target in sorted(TARGETS[processor] for processor in processors):
            arm64.call(sys.executable, "-c", cli, "pack", "--target", target, "-o", self.packs, cwd=ROOT)

    def count(self, runtime: str, job: Job, processor: str, folder: Path) -> tuple[float, list[np.ndarray]]:
        """Millions of instructions of the second run of a job, and its outputs.

        Raises:
            Unsupported: if it fails there.
        """
        feeds, outputs, counts = folder / "feeds.npz", folder / "outputs.npz", folder / "counts"
        np.savez(feeds, **dict(job.feeds))
        for path in (outputs, counts):
            path.unlink(missing_ok=True)
        view = self.arm64.make_processor(processor, self.arm64.make_root())
        emulator = ["qemu-aarch64", "-cpu", processor, "-L", view, "-plugin", f"{self.plugin},out={counts}"]
        python = [view / "usr" / "bin" / self.arm64.PYTHON, "-m", "benchmarks.arm_counted"]
        command = [*emulator, *python, runtime, job.model, job.precision, feeds, outputs, job.conversion or ""]
        paths = os.pathsep.join(map(str, (self.site, ROOT)))
        environment = {
            **os.environ, "PYTHONPATH": paths, "PYTHONNOUSERSITE": "1", "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": "1", "EDGEINFER_PACKS": str(self.packs),
        }  # fmt: skip
        done = subprocess.run(
            [str(word) for word in command], env=environment, cwd=ROOT, check=False, capture_output=True, text=True
        )
        if done.returncode or not outputs.exists():
            print(done.stderr, file=sys.stderr)
            lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
            raise Unsupported(lines[-1][:160])
        totals = [_total(line) for line in counts.read_text().splitlines() if " mark " in line]
        with np.load(outputs) as arrays:
            return (totals[1] - totals[0]) / 1e6, [arrays[name] for name in arrays.files]


def _total(line: str) -> int:
    """The total of a line of the plugin's: ``icount mark 1 total=123 int=45 …``."""
    (word,) = (word for word in line.split() if word.startswith("total="))
    return int(word.removeprefix("total="))


def row_of(count: Count, machine: Machine, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The cells of a row, and why runtimes are missing in it."""
    case = next(case for case in CASES if case.model == count.model)
    job = Job(_file(case, count.numbers, folder), random_feeds(case), 1, _precision(count.numbers))
    expected = None if count.numbers == "int8" else make_runner(ORACLE, job)()
    millions: dict[str, float] = {}
    failures: dict[str, str] = {}
    for runtime in sorted((OURS, *count.peers), key=lambda name: name != ORACLE):
        try:
            # Converters run here, not there.
            made = CONVERSIONS[runtime](job) if runtime in CONVERSIONS else None
            number, outputs = machine.count(runtime, replace(job, conversion=made), count.processor, folder)
            if expected is None and runtime == ORACLE:
                expected = outputs
            if expected is None:
                raise Unsupported(f"there are no outputs of {ORACLE} to compare with")
            difference = relative_difference(outputs, expected)
            if not difference <= (TOLERANCES if runtime == OURS else PEER_TOLERANCES)[count.numbers]:
                raise Unsupported(f"its output is off by {difference:.2g} of the range")
            millions[runtime] = number
        except Unsupported as error:
            failures[runtime] = str(error)
    cells = [f"{millions[name]:.1f}" if name in millions else "" for name in (OURS, *PEERS)]
    return [case.label, count.numbers, count.processor, *cells, *_verdict(count, millions)], failures


def _file(case: Case, numbers: str, folder: Path) -> Path:
    if numbers != "int8":
        return model_path(case, folder)
    from benchmarks.quantized import quantized_file

    path = folder / f"{case.model}.qdq.onnx"
    return path if path.exists() else quantized_file(case, folder)


def _precision(numbers: str) -> str:
    return "float16" if numbers == "float16" else "float32"


def _verdict(count: Count, millions: dict[str, float]) -> list[str]:
    """The share of the best peer and the goal."""
    peers = [millions[name] for name in count.against if name in millions]
    ratio = f"**{millions[OURS] / min(peers):.2f}**" if OURS in millions and peers else ""
    return [ratio, f"{count.most:g} million" if count.most else f"{count.share:g}" if count.share else ""]


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows in Markdown: millions of instructions, ours as a share of the best peer's, the goal."""
    header = ["model", "numbers", "processor", OURS, *PEERS, "ratio", "goal"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows])


if __name__ == "__main__":
    main()
