"""Float16 kernels against the float32 references, over ugly sizes.

Sums of small whole numbers are exact in float16, so kernels must give them exactly. With other numbers each of n
products and sums is rounded by up to u = 2**-11 of its size, and the error of a sum stays below c * sqrt(n) * u times
the sum of all magnitudes with overwhelming probability (Higham and Mary, "A New Approach to Probabilistic Rounding
Error Analysis", 2019).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.records import altered
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session
from tests.kernels.test_kernels_against_references import (
    CONV_CASES,
    COPY_CASES,
    ELEMENTWISE_CASES,
    MATMUL_CASES,
    NORM_CASES,
    POOL_CASES,
    REDUCE_CASES,
    RESIZE_CASES,
    TRANSPOSED_CASES,
    Case,
)

needs_float16 = pytest.mark.skipif("dotprod" not in available_levels(), reason="this CPU has no Armv8.2 float16")
ROUNDING = 2.0**-11
# Results of the functions that are computed in float32 are rounded once.
ONE_ROUNDING = {"rtol": 1.1 * ROUNDING, "atol": 2.0**-24}
# Operators of float32 alone, whatever the format of their inputs.
_FLOAT32_ONLY = {
    "Exp",
    "Erf",
    "Softmax",
    "LogSoftmax",
    "LayerNormalization",
    "ReduceSum",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
}


def graph_of(case: Case, dtype: DType, constants: list[Any]) -> Graph:
    """The case with inputs and float constants of a dtype; scales of a Resize stay float32."""
    graph, names = Graph("case"), []
    for index, item in enumerate(constants):
        name = "" if item is None else f"x{index}"
        names.append(name)
        if isinstance(item, np.ndarray):
            floats = item.dtype == np.float32 and case.op != "Resize"
            array = item.astype(dtype.numpy) if floats else item
            graph.constants[name] = array
            graph.types[name] = TensorType(DType.of(array), array.shape)
        elif item is not None:
            graph.inputs.append(name)
            graph.types[name] = TensorType(dtype, tuple(item))
    graph.outputs = [f"y{index}" for index in range(case.outputs)]
    graph.nodes = [Node(case.op, names, list(graph.outputs), case.attributes, "node", case.domain)]
    return graph


def run_kernels(graph: Graph, feeds: dict[str, np.ndarray], threads: int) -> dict[str, dict[str, np.ndarray]]:
    """The results of a graph of one node by each kernel that it could take."""
    results = {}
    feeds = {name: array.astype(np.float16) for name, array in feeds.items()}
    shapes = {name: array.shape for name, array in feeds.items()}
    kernels = kernels_for("dotprod")
    with Session(graph, threads=threads, kernels=kernels, choices={}) as session:
        plan = session.plan(shapes)
    assert [step.reason for step in plan.host_steps()] == []
    for kernel in plan.candidates.get("node", [""]):
        with Session(graph, threads=threads, kernels=kernels, choices={"node": kernel}) as session:
            results[kernel] = session.run(feeds)
    return results


def whole_numbers(shape: tuple[int, ...], largest: int) -> np.ndarray:
    generator = np.random.default_rng(sum(shape))
    return generator.integers(-largest, largest + 1, shape).astype(np.float32)


def whole_constants(case: Case) -> list[Any]:
    """The inputs of a case with weights of -1, 0 and 1."""
    multiplying = case.op in ("Conv", "ConvTranspose", "MatMul", "Gemm")
    return [
        whole_numbers(item.shape, 1) if multiplying and isinstance(item, np.ndarray) else item for item in case.inputs
    ]


WHOLE_CASES = [
    case
    for case in [
        *CONV_CASES,
        *TRANSPOSED_CASES,
        *MATMUL_CASES,
        *ELEMENTWISE_CASES,
        *COPY_CASES,
        *POOL_CASES,
        *REDUCE_CASES,
    ]
    if case.op not in _FLOAT32_ONLY and not (case.op == "MatMul" and not isinstance(case.inputs[1], np.ndarray))
]


@needs_float16
@pytest.mark.parametrize("case", WHOLE_CASES, ids=lambda case: case.label)
def test_sums_of_whole_numbers_are_exact(case: Case):
    constants = whole_constants(case)
    graph = graph_of(case, DType.FLOAT32, constants)
    feeds = {name: whole_numbers(graph.types[name].shape, 2) for name in graph.inputs}
    if case.op == "Div":
        feeds = {name: array + np.float32(3) for name, array in feeds.items()}
    for array in graph.constants.values():
        if array.dtype == np.float32:
            array[...] = array.astype(np.float16)
    expected = run_graph(graph, feeds)
    for kernel, results in run_kernels(graph_of(case, DType.FLOAT16, constants), feeds, 2).items():
        for name, wanted in expected.items():
            # F(4x4, 3x3) has filters with factors of 1 / 24.
            loose = {"rtol": 0, "atol": 0.02 * np.abs(wanted).max()} if "winograd" in kernel else ONE_ROUNDING
            np.testing.assert_allclose(results[name].astype(np.float32), wanted, **loose, err_msg=kernel)


@needs_float16
@pytest.mark.parametrize("case", [*CONV_CASES, *TRANSPOSED_CASES], ids=lambda case: case.label)
def test_rounding_stays_within_its_bound(case: Case):
    plain = dataclasses.replace(case, attributes={**case.attributes, "activation": ""})
    plain.attributes.pop("activation_parameters", None)
    rounded = [
        item.astype(np.float16).astype(np.float32) if isinstance(item, np.ndarray) else item for item in case.inputs
    ]
    graph = graph_of(plain, DType.FLOAT32, rounded)
    generator = np.random.default_rng(0)
    feeds = {
        name: generator.standard_normal(graph.types[name].shape).astype(np.float16).astype(np.float32)
        for name in graph.inputs
    }
    expected = run_graph(graph, feeds)["y0"]
    sizes = graph_of(plain, DType.FLOAT32, [np.abs(item) if isinstance(item, np.ndarray) else item for item in rounded])
    magnitudes = run_graph(sizes, {name: np.abs(array) for name, array in feeds.items()})["y0"]
    terms = int(np.prod(case.inputs[1].shape[1:])) + 2
    for kernel, results in run_kernels(graph_of(plain, DType.FLOAT16, rounded), feeds, 1).items():
        error = np.abs(results["y0"].astype(np.float32) - expected)
        bound = 3 * np.sqrt(terms) * ROUNDING * magnitudes + 2.0**-24
        # The transforms add up to 100 inputs with factors of up to 8: their rounding is not that of one pixel's terms.
        if "winograd4x4" in kernel or "winograd_parts" in kernel:
            bound = np.full_like(bound, 8 * bound.mean())
        assert (error <= bound).all(), f"{kernel}: {(error / bound).max()}"


@needs_float16
@pytest.mark.parametrize("case", RESIZE_CASES, ids=lambda case: case.label)
def test_resized_pictures_are_rounded_once(case: Case):
    x = np.random.default_rng(0).standard_normal(case.inputs[0]).astype(np.float16)
    expected = run_graph(graph_of(case, DType.FLOAT32, case.inputs), {"x0": x.astype(np.float32)})["y0"]
    results = run_kernels(graph_of(case, DType.FLOAT16, case.inputs), {"x0": x}, 2)
    np.testing.assert_allclose(results[""]["y0"].astype(np.float32), expected, rtol=1.1 * ROUNDING, atol=2e-6)


def behind_a_convolution(node: Node, shapes: dict[str, tuple[int, ...]], channels: int) -> Graph:
    """Pictures of float32 that a convolution, which changes nothing but their format, hands on to a node."""
    graph = Graph("case", list(shapes), ["y"], types={name: TensorType(DType.FLOAT32, s) for name, s in shapes.items()})
    graph.add_constant("unit", np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1))
    copy = Node("Conv", ["x0", "unit"], ["copy"], {"layout": "NHWC"}, "copy", FUSED)
    graph.nodes = [copy, altered(node, inputs=["copy", *node.inputs[1:]], outputs=["y"])]
    return graph


@needs_float16
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "case", [case for case in NORM_CASES if case.op == "InstanceNormalization"], ids=lambda c: c.label
)
def test_normalised_pictures_are_rounded_once(case: Case, threads: int):
    names = [f"x{index}" for index in range(len(case.inputs))]
    channels = case.inputs[0][-1]
    graph = behind_a_convolution(
        Node(case.op, names, ["y"], case.attributes, "norm", case.domain),
        dict(zip(names, case.inputs, strict=True)),
        channels,
    )
    generator = np.random.default_rng(0)
    feeds = {
        name: generator.standard_normal(shape).astype(np.float16).astype(np.float32)
        for name, shape in graph_shapes(graph)
    }
    # A mean far from zero must not cancel the variance.
    feeds["x0"] = (feeds["x0"] + np.float32(10)).astype(np.float16).astype(np.float32)
    expected = run_graph(graph, feeds)["y"]
    with Session(graph, threads=threads, kernels=kernels_for("dotprod"), precision="float16") as session:
        steps = [step.kernel for step in session.profile(feeds)]
        y = session.run(feeds)["y"]
    assert any(name.startswith("f16_scale_shift") for name in steps)
    np.testing.assert_allclose(y, expected, rtol=1.1 * ROUNDING, atol=2e-5)


def graph_shapes(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, graph.types[name].shape) for name in graph.inputs]


@needs_float16
def test_numbers_beyond_the_range_are_infinite_and_nan_stays():
    graph = behind_a_convolution(Node("Relu", ["copy"], ["y"], {}, "relu"), {"x0": (1, 1, 8, 1)}, 1)
    x = np.array([65504, 65519, 65520, 1e30, -1e30, np.inf, np.nan, 1e-9], np.float32).reshape(1, 1, 8, 1)
    with Session(graph, threads=1, kernels=kernels_for("dotprod"), precision="float16") as session:
        y = session.run({"x0": x})["y"].ravel()
    np.testing.assert_array_equal(y, np.array([65504, 65504, np.inf, np.inf, 0, np.inf, np.nan, 0], np.float32))


@needs_float16
def test_sums_beyond_the_range_are_infinite():
    graph = behind_a_convolution(
        Node("Add", ["copy", "x1"], ["y"], {}, "add"), {"x0": (1, 1, 9, 1), "x1": (1, 1, 9, 1)}, 1
    )
    x = np.full((1, 1, 9, 1), 40000, np.float32)
    with Session(graph, threads=1, kernels=kernels_for("dotprod"), precision="float16") as session:
        np.testing.assert_array_equal(session.run({"x0": x, "x1": x})["y"], np.full_like(x, np.inf))
        np.testing.assert_array_equal(session.run({"x0": x, "x1": -x})["y"], np.zeros_like(x))
