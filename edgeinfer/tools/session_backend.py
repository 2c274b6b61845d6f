"""Models of the quantizer run in sessions."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from edgeinfer.graph import Graph
from edgeinfer.plan.strips import CHAINS, WHOLE
from edgeinfer.quantize.backend import Feeds, Run
from edgeinfer.runtime.session import Session

# The least of several times counts: whatever else the machine does only adds to one.
PROFILES = 9
TIMED_RUNS = 15


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
        """The least time of each node with one thread."""
        with Session(graph, threads=1, choices={CHAINS: WHOLE}) as session:
            runs = [session.profile(feeds) for _ in range(PROFILES)]
        seconds: defaultdict[str, float] = defaultdict(float)
        for steps in zip(*runs, strict=True):
            seconds[steps[0].node] += min(step.seconds for step in steps)
        return dict(seconds)

    def compare_seconds(self, first: Graph, second: Graph, feeds: Feeds) -> tuple[float, float]:
        """The least time of a run of either graph with one thread, measured in turn."""
        with Session(first, threads=1) as before, Session(second, threads=1) as after:
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(TIMED_RUNS + 1):
                for session, kept in zip((before, after), times, strict=True):
                    start = time.perf_counter()
                    session.run(feeds)
                    kept.append(time.perf_counter() - start)
        # The first run plans and touches memory.
        return min(times[0][1:]), min(times[1][1:])
