"""How quantization runs models and says how far it is: handed in, since both lie above this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from edgeinfer.graph import Graph

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds], dict[str, np.ndarray]]
# Is told what is being done.
Progress = Callable[[str], None]


def silent(text: str) -> None:
    """A ``Progress`` that tells nobody."""


class Backend(Protocol):
    """Runs graphs."""

    def open(self, graph: Graph) -> AbstractContextManager[Run]:
        """A function that runs the graph on feeds and returns its outputs by name, until the context ends."""

    def node_seconds(self, graph: Graph, feeds: Feeds) -> dict[str, float]:
        """How long each node takes on this machine, by node name; the least of several runs."""

    def compare_seconds(self, first: Graph, second: Graph, feeds: Feeds) -> tuple[float, float]:
        """Seconds of whole runs of two graphs, measured in turn."""


def run_samples(backend: Backend, graph: Graph, samples: list[Feeds]) -> list[dict[str, np.ndarray]]:
    """Outputs of a graph for all samples."""
    with backend.open(graph) as run:
        return [run(feeds) for feeds in samples]
