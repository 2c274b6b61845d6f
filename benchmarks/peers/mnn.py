"""MNN, with models converted by its mnnconvert."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.peers.job import Job, Runner, converted, run_converter


def runner(job: Job) -> Runner:
    """A module of its expression interface, at high precision, which is float32."""
    import MNN
    import onnx

    folder = conversion(job)
    outputs = [value.name for value in onnx.load(job.model, load_external_data=False).graph.output]
    configuration = {"backend": "CPU", "precision": "high", "power": "high", "numThread": job.threads}
    runtime = MNN.nn.create_runtime_manager((configuration,))
    path = str(folder / "model.mnn")
    module = MNN.nn.load_module_from_file(path, list(job.feeds), outputs, runtime_manager=runtime)
    inputs = [MNN.expr.placeholder(list(array.shape), MNN.expr.NCHW) for array in job.feeds.values()]

    def run() -> list[np.ndarray]:
        for value, array in zip(inputs, job.feeds.values(), strict=True):
            value.write(array)
        return [MNN.expr.convert(result, MNN.expr.NCHW).read() for result in module.forward(inputs)]

    # The module uses the runtime, but does not keep it alive.
    run.runtime = runtime
    return run


def conversion(job: Job) -> Path:
    """The folder with mnnconvert's ``model.mnn``."""
    return converted(job, "MNN", lambda folder: _convert(job, folder))


def _convert(job: Job, folder: Path) -> None:
    mnnconvert = str(Path(sys.executable).with_name("mnnconvert"))
    command = [mnnconvert, "-f", "ONNX", "--modelFile", str(job.model.resolve()), "--MNNModel", "model.mnn"]
    run_converter([*command, "--bizCode", "benchmark"], folder)
