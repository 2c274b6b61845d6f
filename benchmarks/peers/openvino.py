"""OpenVINO on its CPU plugin."""

from __future__ import annotations

from benchmarks.peers.job import Job, Runner

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def runner(job: Job) -> Runner:
    """A request compiled for latency with the shapes fixed; inputs and outputs are not copied."""
    import openvino

    network = openvino.Core().read_model(str(job.model))
    network.reshape({name: list(array.shape) for name, array in job.feeds.items()})
    settings = {
        "INFERENCE_NUM_THREADS": job.threads,
        "INFERENCE_PRECISION_HINT": _HINTS[job.precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()
    return lambda: list(request.infer(dict(job.feeds), share_inputs=True, share_outputs=True).values())
