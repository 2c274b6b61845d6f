"""ONNX Runtime on its CPU provider."""

from __future__ import annotations

from benchmarks.peers.job import Job, Runner


def runner(job: Job) -> Runner:
    """A session with all graph optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(job.model), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(job.feeds))
