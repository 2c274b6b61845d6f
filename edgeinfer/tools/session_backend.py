"""Models of the quantizer run in sessions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.quantize.backend import Feeds, Run
from edgeinfer.runtime.session import Session

PROFILES = 7


class SessionBackend:
    """Runs graphs in sessions on this machine; see ``edgeinfer.quantize.Backend``."""

    def __init__(self, threads: int | str = "auto") -> None:
        self._threads = threads

    @contextmanager
    def open(self, graph: Graph) -> Iterator[Run]:
        """A session for a graph, closed at the end."""
        with Session(graph, threads=self._threads) as session:
            yield session.run

    def node_seconds(self, graph: Graph, feeds: Feeds) -> dict[str, float]:
        """Median time of each node with one thread."""
        with Session(graph, threads=1) as session:
            runs = [session.profile(feeds) for _ in range(PROFILES)]
        seconds: defaultdict[str, float] = defaultdict(float)
        for steps in zip(*runs, strict=True):
            seconds[steps[0].node] += float(np.median([step.seconds for step in steps]))
        return dict(seconds)
