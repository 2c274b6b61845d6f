"""edgeinfer and its peers behind one interface: a model file and inputs become a function that runs once.

Every runtime computes in float32 with the same number of threads, and is given the inputs as NumPy arrays by every
run; what it gives back are NumPy arrays too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from benchmarks.peers import edgeinfer, litert, mnn, ncnn, onnxruntime, openvino, tract
from benchmarks.peers.job import Job, Runner, Unsupported

# By name: what makes a runner, and the packages it needs.
RUNTIMES: dict[str, tuple[Callable[[Job], Runner], tuple[str, ...]]] = {
    "edgeinfer": (edgeinfer.runner, ("edgeinfer",)),
    "ONNX Runtime": (onnxruntime.runner, ("onnxruntime",)),
    "OpenVINO": (openvino.runner, ("openvino",)),
    "ncnn": (ncnn.runner, ("ncnn", "pnnx")),
    "MNN": (mnn.runner, ("MNN",)),
    "LiteRT": (litert.runner, ("ai_edge_litert",)),
    "tract": (tract.runner, ("tract",)),
}


def make_runner(runtime: str, job: Job) -> Runner:
    """The function that runs a job once.

    Raises:
        Unsupported: if the runtime is not installed or cannot run the model, with the reason.
    """
    factory, packages = RUNTIMES[runtime]
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    if missing:
        raise Unsupported(f"{', '.join(missing)} is not installed")
    return factory(job)


__all__ = ["RUNTIMES", "Job", "Runner", "Unsupported", "make_runner"]
