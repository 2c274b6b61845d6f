"""How many multiply-adds a second this machine reaches where nothing else holds it up."""

from __future__ import annotations

import itertools
import time

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.runtime.session import Session

# Weights and a picture that stay in the second-level cache, and work for milliseconds.
_CHANNELS, _SIDE = 192, 32
_RUNS = 30


def peak_macs_per_second(threads: int | str, precision: str = "float32") -> float:
    """Multiply-adds a second of a pointwise convolution that fits the caches: the kernels' own peak."""
    graph = Graph("peak", ["x"], ["y"], [], {"x": TensorType(DType.FLOAT32, (1, _CHANNELS, _SIDE, _SIDE))})
    weight = graph.add_constant("w", np.full((_CHANNELS, _CHANNELS, 1, 1), 0.01, np.float32))
    names = ["x", *(f"t{index}" for index in range(7)), "y"]
    graph.nodes = [Node("Conv", [source, weight], [target], {}, target) for source, target in itertools.pairwise(names)]
    x = np.ones((1, _CHANNELS, _SIDE, _SIDE), np.float32)
    with Session(graph, threads=threads, precision=precision) as session:
        session.run({"x": x})
        times = []
        for _ in range(_RUNS):
            start = time.perf_counter()
            session.run({"x": x})
            times.append(time.perf_counter() - start)
    return len(graph.nodes) * _CHANNELS**2 * _SIDE**2 / min(times)
