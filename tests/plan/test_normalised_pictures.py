"""Convolutions that transform their input normalise it as they read it: the normalised picture is not written."""

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
SIZE = (11, 14)


def graph_of(
    channels: int = 32,
    outputs: int = 24,
    kernel: int = 3,
    activation: str = "Relu",
    norm: str = "InstanceNormalization",
    **attributes: object,
) -> Graph:
    """A normalisation and a convolution of what it gives."""
    generator = np.random.default_rng(channels + outputs + kernel)
    graph = Graph("normalised", ["x"], ["y"])
    graph.types["x"] = TensorType(DType.FLOAT32, (2, *SIZE, channels))
    names, norm_attributes = ["scale", "bias"], {"layout": "NHWC"}
    if norm == "BatchNormalization":
        names += ["mean", "variance"]
    else:
        norm_attributes["activation"] = activation
    for name in names:
        graph.add_constant(name, 0.5 + generator.random(channels, np.float32))
    weight = generator.standard_normal((outputs, channels, kernel, kernel), np.float32)
    graph.add_constant("weight", weight / np.float32(kernel * np.sqrt(channels)))
    attributes = {"pads": [kernel // 2] * 4, "layout": "NHWC", **attributes}
    graph.nodes = [
        Node(norm, ["x", *names], ["n"], norm_attributes, "norm", FUSED),
        Node("Conv", ["n", "weight"], ["y"], attributes, "conv", FUSED),
    ]
    return graph


def families_of(graph: Graph, level: str, kernel: str | None = None) -> list[str]:
    """The families of the kernels of a session whose results equal the reference's."""
    generator = np.random.default_rng(1)
    feeds = {"x": 3 * generator.standard_normal(graph.types["x"].shape, np.float32) + 1}
    expected = run_graph(graph, feeds)
    choices = {"conv": kernel} if kernel else None
    with Session(graph, threads=2, kernels=kernels_for(level), choices=choices) as session:
        for _ in range(2):
            results = session.run(feeds)
        plan = session.plan({"x": feeds["x"].shape})
    for name, wanted in expected.items():
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(results[name], wanted, rtol=1e-5, atol=2e-5 * scale)
    return [step.call.kernel.family for step in plan.native_steps()]


def candidates(graph: Graph, level: str) -> list[str]:
    with Session(graph, threads=2, kernels=kernels_for(level)) as session:
        return session.plan({"x": graph.types["x"].shape}).candidates["conv"]


CASES = [
    {},
    {"channels": 12},
    {"kernel": 5, "channels": 16, "pad_mode": "edge"},
    {"pad_mode": "reflect", "activation": ""},
    {"strides": [2, 2], "pads": [1, 1, 0, 0]},
    {"strides": [2, 2], "kernel": 7},
    {"upsample": [2, 2], "strides": [2, 2]},
    {"outputs": 3, "kernel": 9, "pad_mode": "reflect"},
    {"outputs": 3, "kernel": 9, "activation": "Sigmoid"},
    {"norm": "BatchNormalization", "pads": [0, 2, 1, 0]},
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_algorithm_reads_the_normalised_picture(case, level):
    graph = graph_of(**case)
    rows = kernels_for(level).kernel_set.rows
    lanes = kernels_for(level).kernel_set.lanes
    for kernel in candidates(graph, level):
        families = families_of(graph, level, kernel)
        reads_itself = (
            rows[kernel].traits.get("normalises") and graph.types["x"].shape[-1] % lanes == 0
            and case.get("activation", "Relu") in ("", "Relu")
        )  # fmt: skip
        assert rows[kernel].family in families
        assert ("f32_scale_shift" in families) == (not reads_itself)


@pytest.mark.parametrize("level", LEVELS)
def test_a_picture_that_others_read_is_written_and_read(level):
    graph = graph_of()
    graph.nodes.append(Node("Neg", ["n"], ["negated"], name="negated"))
    graph.outputs.append("negated")
    assert "f32_scale_shift" in families_of(graph, level)
    graph = graph_of()
    graph.outputs.append("n")
    assert "f32_scale_shift" in families_of(graph, level)


def test_the_source_is_kept_until_the_convolution_reads_it():
    graph = graph_of()
    between = [
        Node("Neg", ["x"], ["a"], name="a"), Node("Abs", ["a"], ["b"], name="b"), Node("Exp", ["b"], ["z"], name="z"),
    ]  # fmt: skip
    first, second = graph.nodes
    source = Node("Tanh", ["x"], ["source"], name="source")
    first = Node(first.op, ["source", *first.inputs[1:]], first.outputs, first.attributes, first.name, first.domain)
    graph.nodes = [source, first, *between, second]
    graph.outputs.append("z")
    level = LEVELS[0]
    kernel = next(name for name in candidates(graph, level) if name.startswith("f32_winograd"))
    assert "f32_scale_shift" not in families_of(graph, level, kernel)


@pytest.mark.skipif("dotprod" not in available_levels(), reason="this CPU has no Armv8.2 float16")
def test_float16_pictures_are_normalised_in_float32():
    graph = graph_of(outputs=32)
    graph.types["x"] = TensorType(DType.FLOAT32, (1, *SIZE, 32))
    x = 3 * np.random.default_rng(2).standard_normal((1, *SIZE, 32), np.float32) + 1
    kernels = kernels_for("dotprod")
    (kernel,) = kernels.kernel_set.family("f16_winograd2x2")
    expected = run_graph(graph, {"x": x})["y"]
    choices = {"conv": kernel.name}
    with Session(graph, threads=2, kernels=kernels, precision="float16", choices=choices) as session:
        result = session.run({"x": x})["y"]
        families = [step.call.kernel.family for step in session.plan({"x": x.shape}).native_steps()]
    assert kernel.family in families
    assert "f16_scale_shift" not in families
    assert np.abs(result - expected).max() / np.abs(expected).max() < 0.01
