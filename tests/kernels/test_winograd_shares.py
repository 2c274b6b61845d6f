"""Rows of tiles that two workers share: results do not depend on how many workers there are."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

LEVELS = [level for level in available_levels() if not CPU_LEVELS[level].has_floats_of_base]


def conv_graph(height: int, width: int, channels: int, outputs: int, stride: int) -> Graph:
    """A 3x3 convolution with padding, bias and residual."""
    generator = np.random.default_rng(height)
    graph = Graph("shares", ["x", "residual"], ["y"])
    out = (-(-height // stride), -(-width // stride))
    graph.types["x"] = TensorType(DType.FLOAT32, (1, height, width, channels))
    graph.types["residual"] = graph.types["y"] = TensorType(DType.FLOAT32, (1, *out, outputs))
    graph.add_constant("weight", 0.1 * generator.standard_normal((outputs, channels, 3, 3), np.float32))
    graph.add_constant("bias", generator.standard_normal(outputs, np.float32))
    attributes = {"pads": [1] * 4, "strides": [stride, stride], "layout": "NHWC", "activation": "Relu"}
    graph.nodes = [Node("Conv", ["x", "weight", "bias", "residual"], ["y"], attributes, "conv", FUSED)]
    return graph


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(27, 28, 128, 80), (53, 17, 64, 96), (13, 30, 192, 40)], ids=str)
def test_results_are_the_same_bits_for_any_number_of_workers(shape: tuple[int, int, int, int], stride: int, level: str):
    graph = conv_graph(*shape, stride)
    generator = np.random.default_rng(1)
    feeds = {name: generator.standard_normal(graph.types[name].shape, np.float32) for name in graph.inputs}
    shapes = {name: value.shape for name, value in feeds.items()}
    expected = run_graph(graph, feeds)["y"]
    with Session(graph, threads=1, kernels=kernels_for(level)) as session:
        names = [name for name in session.plan(shapes).candidates["conv"] if "winograd" in name]
    assert names or stride == 2
    shares = set()
    for name in names:
        results = []
        for threads in (1, 2, 3):
            with Session(graph, threads=threads, kernels=kernels_for(level), choices={"conv": name}) as session:
                results.append(session.run(feeds)["y"])
                (step,) = [step for step in session.plan(shapes).native_steps() if step.call.kernel.name == name]
                shares.add(step.call.values["row_shares"])
        np.testing.assert_array_equal(results[1], results[0], err_msg=name)
        np.testing.assert_array_equal(results[2], results[0], err_msg=name)
        np.testing.assert_allclose(results[0], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max(), err_msg=name)
    assert shares >= {1, 2, 3} or stride == 2
