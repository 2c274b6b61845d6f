"""A builder of small graphs, and a check that a pass keeps what a graph computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeinfer.graph import DType, Graph, Node, TensorType, format_graph, verify
from edgeinfer.ops import run_graph
from edgeinfer.passes import Pass, PassResult, count_operators

TOLERANCE = 1e-5


class Builder:
    """Builds a graph node by node; inputs are given as ``x=(1, 3, "h", "w")`` or with a dtype after the shape."""

    def __init__(self, dtype: DType = DType.FLOAT32, **inputs: tuple[int | str, ...]) -> None:
        self.result = Graph("test", list(inputs), [], [], {n: TensorType(dtype, s) for n, s in inputs.items()})
        self.random = np.random.default_rng(0)
        self._numbers = itertools.count()

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        return self.result.add_constant("c", np.asarray(value, dtype))

    def axes(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def weights(self, *shape: int, dtype: Any = np.float32) -> str:
        return self.constant(self.random.standard_normal(shape), dtype)

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"{op.lower()}_{next(self._numbers)}"
        self.result.nodes.append(Node(op, list(inputs), [f"{name}.out"], attributes, name, domain))
        return f"{name}.out"

    def graph(self, *outputs: str) -> Graph:
        self.result.outputs = list(outputs)
        return self.result


def _random_feeds(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    sizes: dict[str, int] = {}
    primes = itertools.cycle((7, 5, 11))
    feeds = {}
    for name in graph.inputs:
        known = graph.types[name]
        assert known.shape is not None
        shape = [dim if isinstance(dim, int) else sizes.setdefault(dim, next(primes)) for dim in known.shape]
        feeds[name] = (3 * random.standard_normal(shape)).astype(known.dtype.numpy)
    return feeds


def _assert_same_outputs(before: Graph, after: Graph, tolerance: float) -> None:
    assert after.inputs == before.inputs
    assert after.outputs == before.outputs
    feeds = _random_feeds(before)
    expected, found = run_graph(before, feeds), run_graph(after, feeds)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        scale = max(float(np.ptp(array.astype(np.float64))), 1e-6) if array.size else 1.0
        np.testing.assert_allclose(
            found[name].astype(np.float64), array.astype(np.float64), rtol=0, atol=tolerance * scale
        )


@pytest.fixture
def builder() -> type[Builder]:
    return Builder


@pytest.fixture
def same_outputs() -> Callable[[Graph, Graph, float], None]:
    return _assert_same_outputs


@pytest.fixture
def apply() -> Callable[..., PassResult]:
    """Runs one pass; checks that it keeps its argument, the rules of graphs, and what the graph computes."""

    def run(step: Pass, graph: Graph, tolerance: float = TOLERANCE) -> PassResult:
        verify(graph)
        before = format_graph(graph), dict(graph.constants)
        result = step.run(graph)
        assert (format_graph(graph), dict(graph.constants)) == before
        verify(result.graph)
        assert (result.graph is graph) == (result.count == 0)
        _assert_same_outputs(graph, result.graph, tolerance)
        return result

    return run


@pytest.fixture
def operators() -> Callable[[Graph], dict[str, int]]:
    return count_operators
