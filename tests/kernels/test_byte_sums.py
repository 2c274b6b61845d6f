"""Sums of bytes, alone and in the convolution that makes one of them, and divisions by reciprocals: bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

U8, I8 = np.uint8, np.int8
# Levels with convolutions of bytes of their own.
LEVELS = [
    level
    for level in available_levels()
    if level == "amx" or not CPU_LEVELS[level].base or CPU_LEVELS[level].dot != CPU_LEVELS[CPU_LEVELS[level].base].dot
]
# Scales of all mantissas, some beyond what reciprocals are taken of.
SCALES = [
    1.0, 0.1, np.nextafter(np.float32(2), np.float32(1)), 0.0173, 3.3e-5, 2.0**-50, 2.0**50, 1.7 * 2.0**-50,
    1e-20, 1e20, 1e-38, 3e38, 1e-42,
]  # fmt: skip


def halves_and_neighbours(scale: np.float32) -> np.ndarray:
    """Numbers whose quotients by the scale are half way between two integers, or as near to that as can be."""
    with np.errstate(over="ignore"):
        halves = (np.arange(-300, 300) + 0.5).astype(np.float32) * scale
    around = [halves]
    for direction in (-np.inf, np.inf):
        near = halves
        for _ in range(3):
            near = np.nextafter(near, np.float32(direction))
            around.append(near)
    return np.concatenate(around)


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("dtype", [U8, I8])
def test_quotients_are_rounded_as_divisions_are(dtype, level):
    random = np.random.default_rng(5)
    for scale in [*map(np.float32, SCALES), *np.exp(random.uniform(-9, 3, 25)).astype(np.float32)]:
        special = np.array([np.inf, -np.inf, np.nan, 0, -0.0, 3e38, -3e38, 1e-45], np.float32)
        x = np.concatenate([halves_and_neighbours(scale), special, random.normal(0, 1, 501).astype(np.float32)])
        graph = Graph("quantize", ["x"], ["y"], [], {"x": TensorType(DType.FLOAT32, x.shape)})
        names = [graph.add_constant("scale", np.array(scale)), graph.add_constant("zero", np.array(3, dtype))]
        graph.nodes = [Node("QuantizeLinear", ["x", *names], ["y"], {}, "quantize")]
        with Session(graph, threads=1, kernels=kernels_for(level)) as session:
            assert session.plan({"x": x.shape}).host_steps() == []
            with np.errstate(all="ignore"):
                expected = run_graph(graph, {"x": x})["y"]
            np.testing.assert_array_equal(session(x), expected, err_msg=f"scale {scale!r}")


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("scales", [(0.02, 0.031, 0.05), (1e-3, 2e-3, 1e-3), (2.0**-55, 0.5, 0.25), (1e20, 1e20, 1e20)])
def test_all_sums_of_two_bytes(scales, level):
    a, b = (np.ascontiguousarray(part) for part in np.meshgrid(np.arange(256, dtype=U8), np.arange(256, dtype=U8)))
    graph = Graph("sum", ["a", "b"], ["y"])
    graph.types |= {name: TensorType(DType.UINT8, a.shape) for name in graph.inputs}
    pairs = [np.float32(scales[0]), U8(120), np.float32(scales[1]), U8(131), np.float32(scales[2]), U8(127)]
    names = [graph.add_constant(f"c{i}", np.asarray(value)) for i, value in enumerate(pairs)]
    graph.nodes = [Node("QAdd", ["a", *names[:2], "b", *names[2:]], ["y"], {}, "add", FUSED)]
    expected = run_graph(graph, {"a": a, "b": b})["y"]
    with Session(graph, threads=2, kernels=kernels_for(level)) as session:
        np.testing.assert_array_equal(session.run({"a": a, "b": b})["y"], expected)


def residual_block(size, kernel=3, outputs=32, x=U8, own=U8, y=U8, swapped=False, activation=False) -> Graph:
    """A convolution of bytes and the sum of its result and another input, ``r``."""
    random, channels = np.random.default_rng(outputs + kernel), size[-1]
    graph = Graph("block", ["x", "r"], ["y"])
    dtypes = {U8: DType.UINT8, I8: DType.INT8}
    graph.types["x"] = TensorType(dtypes[x], size)
    graph.types["r"] = TensorType(dtypes[y], (*size[:3], outputs))
    scale = np.full(outputs, 0.02 / np.sqrt(channels * kernel * kernel), np.float32)
    weight = random.integers(-127, 128, (outputs, channels, kernel, kernel)).astype(I8)
    arrays = [np.float32(0.02), x(3), weight, scale, I8(0), np.float32(0.07), own(5)]
    names = [graph.add_constant(f"c{i}", np.asarray(array)) for i, array in enumerate(arrays)]
    attributes = {"layout": "NHWC", "pads": [kernel // 2] * 4}
    graph.nodes = [Node("QConv", ["x", *names], ["c"], attributes, "conv", FUSED)]
    sums = [np.float32(0.07), own(5), np.float32(0.03), y(2), np.float32(0.06), y(9)]
    first, second, third = (
        [graph.add_constant(f"s{i}{part}", np.asarray(sums[2 * i + part])) for part in (0, 1)] for i in range(3)
    )
    inputs = ["r", *second, "c", *first] if swapped else ["c", *first, "r", *second]
    bounds = {"activation": "Relu"} if activation else {}
    graph.nodes.append(Node("QAdd", [*inputs, *third], ["y"], bounds, "add", FUSED))
    return graph


def feeds_of(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    types = {name: graph.types[name] for name in graph.inputs}
    return {
        name: random.integers(0, 256, known.shape).astype(U8).view(known.dtype.numpy) for name, known in types.items()
    }


BLOCKS = [
    {"size": (1, 14, 14, 32)},
    {"size": (2, 9, 11, 64), "outputs": 70},
    {"size": (1, 28, 28, 128), "outputs": 128, "swapped": True},
    {"size": (1, 7, 5, 12), "outputs": 5, "activation": True},
    {"size": (1, 8, 8, 64), "kernel": 1, "outputs": 24},
    {"size": (1, 10, 10, 16), "kernel": 5, "outputs": 17, "own": I8},
    {"size": (1, 12, 12, 32), "x": I8, "own": I8, "y": I8, "outputs": 48},
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_kernel_adds_the_residual(block, level):
    graph, kernels = residual_block(**block), kernels_for(level)
    feeds = feeds_of(graph)
    shapes = {name: array.shape for name, array in feeds.items()}
    expected = run_graph(graph, feeds)["y"]
    with Session(graph, threads=2, kernels=kernels) as session:
        candidates = session.plan(shapes).candidates.get("conv", [""])
    for kernel in candidates:
        for threads in (1, 2):
            with Session(graph, threads=threads, kernels=kernels, choices={"conv": kernel}) as session:
                np.testing.assert_array_equal(session.run(feeds)["y"], expected, err_msg=kernel)
                steps = [step.call for step in session.plan(shapes).native_steps()]
            for step in steps:
                if step.kernel.traits.get("adds"):
                    assert step.values["residual"] == "r"
                    assert "qu8_binary" not in {other.kernel.family for other in steps}


@pytest.mark.parametrize("reason", ["read twice", "output", "made later", "broadcast"])
def test_sums_stay_steps_of_their_own_where_they_must(reason):
    graph = residual_block((1, 14, 14, 32))
    if reason == "read twice":
        graph.nodes.append(Node("Identity", ["c"], ["z"], {}, "z"))
        graph.outputs.append("z")
    elif reason == "output":
        graph.outputs.append("c")
    elif reason == "made later":
        conv, add = graph.nodes
        add.inputs[3] = "later"
        graph.nodes = [
            conv,
            Node("MaxPool", ["r"], ["later"], {"kernel_shape": [1, 1], "layout": "NHWC"}, "p", FUSED),
            add,
        ]
    else:
        graph.types["r"] = TensorType(DType.UINT8, (1, 1, 1, 32))
    feeds = feeds_of(graph)
    expected = run_graph(graph, feeds)
    with Session(graph, threads=2) as session:
        results = session.run(feeds)
        plan = session.plan({name: array.shape for name, array in feeds.items()})
    for name, wanted in expected.items():
        np.testing.assert_array_equal(results[name], wanted)
    assert "qu8_binary" in {step.call.kernel.family for step in plan.native_steps()}
