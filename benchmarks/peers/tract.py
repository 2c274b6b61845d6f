"""tract, through its Python package."""

from __future__ import annotations

from benchmarks.peers.job import Job, Runner, Unsupported


def runner(job: Job) -> Runner:
    """A runnable with the shapes fixed; one thread."""
    if job.threads > 1:
        raise Unsupported("its Python package runs on one thread only")
    import tract

    model = tract.onnx().load(job.model)
    names = [model.input_name(index) for index in range(model.input_count())]
    for index, name in enumerate(names):
        model.set_input_fact(index, ",".join(map(str, job.feeds[name].shape)) + ",f32")
    runnable = model.into_model().into_runnable()
    arrays = [job.feeds[name] for name in names]
    return lambda: [result.to_numpy() for result in runnable.run(arrays)]
