"""Times of models on 8-bit integers beside ONNX Runtime and OpenVINO: ``python -m benchmarks.quantized``.

ONNX Runtime's quantizer makes one QDQ file for all (per channel, U8S8, scikit-image's photographs for calibration);
runtimes take turns as in ``benchmarks.compare``. *Equal* is the share of our outputs that are ONNX Runtime's. For
multistyle26 we run what ``edgeinfer quantize`` makes of it instead, on Debian's photographs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import skimage.data
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from skimage.transform import resize

from benchmarks.cases import CASES, Case, model_path, random_feeds
from benchmarks.compare import OURS, take_turns
from benchmarks.markdown import markdown_table
from benchmarks.peers import Job, Runner, make_runner
from benchmarks.photographs import photograph_folder
from edgeinfer.cli import main as command_line
from edgeinfer.format import read_edge
from edgeinfer.runtime.session import Session

PEERS = ("ONNX Runtime", "OpenVINO")
# The largest share of the better peer's time that we want to need.
GOALS = {
    "fast_neural_style_32": 0.75, "multistyle26": 0.75, "resnet18": 0.85, "mobilenet_v2": 0.9,
    "efficientnet_lite0": 0.9,
}  # fmt: skip
QUANTIZED_HERE = ("multistyle26",)
HEADER = ["model", "threads", OURS, *PEERS, "ratio", "goal", "equal"]
PHOTOGRAPHS = ("astronaut", "coffee", "cat", "rocket")


class Photographs(CalibrationDataReader):
    """Photographs as the model's picture, float32 0..1."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._names = iter(PHOTOGRAPHS)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next inputs, None at the end."""
        name = next(self._names, None)
        if name is None:
            return None
        picture, shape = next(iter(self._case.shapes.items()))
        pixels = resize(getattr(skimage.data, name)()[..., :3], shape[2:]).astype(np.float32)
        return {**random_feeds(self._case), picture: np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])}


def quantized_file(case: Case, folder: Path) -> Path:
    """The model as ONNX Runtime's quantizer writes it."""
    prepared, path = folder / f"{case.model}.prepared.onnx", folder / f"{case.model}.qdq.onnx"
    quant_pre_process(str(model_path(case, folder)), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        prepared, path, Photographs(case), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return path


def quantized_here(case: Case, folder: Path) -> Path:
    """The model as ``edgeinfer quantize`` writes it for this machine."""
    path = folder / f"{case.model}.int8.edge"
    command_line(["quantize", str(model_path(case, folder)), "--data", str(photograph_folder()), "-o", str(path)])
    return path


def our_runner(case: Case, path: Path, folder: Path, threads: int) -> Runner:
    """Our runtime, on the file that the peers run or on our own."""
    feeds = random_feeds(case)
    if case.model not in QUANTIZED_HERE:
        return make_runner(OURS, Job(path, feeds, threads))
    session = Session(read_edge(quantized_here(case, folder)), threads=threads)
    return lambda: list(session.run(feeds).values())


def measure(case: Case, path: Path, folder: Path, threads: int, seconds: float) -> list[str]:
    """One row of the table."""
    runners = {OURS: our_runner(case, path, folder, threads)}
    runners |= {name: make_runner(name, Job(path, random_feeds(case), threads)) for name in PEERS}
    ours, expected = (np.concatenate([y.ravel() for y in runners[name]()]) for name in (OURS, PEERS[0]))
    equal = f"{float(np.mean(np.abs(ours - expected) <= 1e-6 * np.ptp(expected))):.2%}"
    medians = {name: float(np.median(times)) for name, times in take_turns(runners, seconds).items()}
    ratio = medians[OURS] / min(medians[name] for name in PEERS)
    times = [f"{medians[name]:.2f}" for name in (OURS, *PEERS)]
    same_file = "other file" if case.model in QUANTIZED_HERE else equal
    return [case.label, str(threads), *times, f"**{ratio:.2f}**", f"{GOALS[case.model]:g}", same_file]


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each runtime and case (default 3)")
    seconds = parser.parse_args().seconds
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        seen = set()
        for case in CASES:
            if case.model not in GOALS or case.model in seen:
                continue
            seen.add(case.model)
            path = quantized_file(case, Path(folder))
            rows += [measure(case, path, Path(folder), threads, seconds) for threads in (1, 2)]
            print(f"measured {case.label}", flush=True)
    print(f"\n{markdown_table(HEADER, rows)}")


if __name__ == "__main__":
    main()
