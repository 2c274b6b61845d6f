"""edgeinfer and its peers behind one interface: a model file and inputs become a function that runs once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Feeds = Mapping[str, np.ndarray]
Runner = Callable[[], list[np.ndarray]]


def edgeinfer_runner(model: Path, feeds: Feeds, threads: int) -> Runner:
    """Our own session on the model converted in memory, inputs bound once."""
    import converters
    from edgeinfer.runtime.session import Session

    graph, _ = converters.convert(model)
    session = Session(graph, threads=threads)
    return lambda: list(session.run(feeds).values())


def onnxruntime_runner(model: Path, feeds: Feeds, threads: int) -> Runner:
    """ONNX Runtime on its CPU provider with all graph optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(feeds))


def openvino_runner(model: Path, feeds: Feeds, threads: int) -> Runner:
    """OpenVINO in float32, compiled for latency with the shapes fixed."""
    import openvino

    network = openvino.Core().read_model(str(model))
    network.reshape({name: list(array.shape) for name, array in feeds.items()})
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()
    return lambda: list(request.infer(dict(feeds)).values())


RUNNERS: dict[str, Callable[[Path, Feeds, int], Runner]] = {
    "edgeinfer": edgeinfer_runner,
    "onnxruntime": onnxruntime_runner,
    "openvino": openvino_runner,
}


def available() -> list[str]:
    """Names of the runtimes that are installed here; edgeinfer is always among them."""
    return [name for name in RUNNERS if name == "edgeinfer" or importlib.util.find_spec(name)]
