"""Our own runtime."""

from __future__ import annotations

import converters
from benchmarks.peers.job import Job, Runner
from edgeinfer.runtime.session import Session


def runner(job: Job) -> Runner:
    """A session on the model converted in memory."""
    graph, _ = converters.convert(job.model)
    session = Session(graph, threads=job.threads, precision=job.precision)
    return lambda: list(session.run(job.feeds).values())
