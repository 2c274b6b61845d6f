"""Convolutions by AMX's tile registers, each of their kernels for every case that it takes."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import KernelError
from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops.evaluate import run_graph
from edgeinfer.plan.lowering import amx_conv as planned
from edgeinfer.plan.lowering.amx_conv import chunk_units
from edgeinfer.plan.lowering.units import to_bfloat16
from edgeinfer.runtime import cpu, kernel_loader
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session

LEVEL = "amx"
needs_amx = pytest.mark.skipif(LEVEL not in available_levels(), reason="this CPU has no AMX")
U8, I8, F32 = np.uint8, np.int8, np.float32

# Height, width, channels, outputs and kernel size of a convolution, its attributes, and by what it is computed.
CASES: list[tuple[tuple[int, int, int, int, int], dict[str, Any], set[str]]] = [
    # Rows of a band: as one row, a single group of pixels, whole groups, more pixels than a band has.
    ((7, 7, 16, 32, 3), {}, {"conv"}),
    ((14, 14, 32, 40, 3), {}, {"conv"}),
    ((1, 5, 64, 33, 1), {}, {"conv"}),
    ((9, 32, 8, 16, 3), {"pad_mode": "reflect"}, {"conv"}),
    ((3, 300, 8, 17, 3), {"pad_mode": "edge"}, {"conv"}),
    ((19, 23, 24, 64, 1), {"activation": "Clip", "activation_parameters": [-0.5, 0.8]}, {"conv"}),
    # Weights in several parts, whose ends lie within a row of taps and within a tap.
    ((9, 9, 136, 32, 3), {}, {"conv"}),
    ((6, 18, 800, 40, 1), {}, {"conv"}),
    # Channels sorted into planes; several tasks of pixels.
    ((7, 7, 256, 40, 3), {}, {"conv"}),
    ((13, 11, 320, 24, 3), {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 2, 1, 2]}, {"conv"}),
    ((5, 6, 256, 24, 3), {"upsample": [2, 2], "strides": [2, 1]}, {"conv"}),
    ((40, 70, 256, 17, 2), {"pads": [0, 0, 0, 0], "activation": "Relu"}, {"conv"}),
    ((13, 11, 16, 24, 3), {"strides": [2, 2]}, {"conv"}),
    ((13, 12, 16, 24, 3), {"strides": [2, 1]}, {"conv"}),
    ((12, 13, 8, 24, 3), {"strides": [1, 2], "pads": [0, 2, 1, 0]}, {"conv"}),
    ((15, 17, 12, 24, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}, {"conv"}),
    ((6, 9, 16, 24, 3), {"upsample": [2, 2], "strides": [2, 1]}, {"conv"}),
    ((11, 18, 30, 20, 5), {"activation": "Relu"}, {"conv"}),
    ((11, 18, 8, 20, 3), {"activation": "Sigmoid"}, {"conv"}),
    # Pixels that are no whole units, side by side.
    ((24, 31, 3, 40, 9), {"pad_mode": "reflect"}, {"packed_conv"}),
    ((33, 29, 3, 32, 7), {"strides": [2, 2]}, {"packed_conv"}),
    ((12, 20, 5, 17, 3), {"pad_mode": "edge"}, {"packed_conv"}),
    ((12, 20, 1, 16, 5), {}, {"packed_conv"}),
    # Few output channels.
    ((21, 35, 32, 3, 9), {"pad_mode": "reflect"}, {"few_outputs", "conv"}),
    ((9, 30, 24, 2, 5), {"strides": [2, 1], "activation": "Relu"}, {"few_outputs", "conv"}),
]  # fmt: skip


def label(case: Any) -> str:
    return "x".join(map(str, case)) if isinstance(case, tuple) else str(case)


def amx_kernels(candidates: list[str]) -> set[str]:
    return {name for name in candidates if "_amx_" in name.partition("__")[0]}


def kinds_of(kernels: set[str]) -> set[str]:
    return {name.partition("__")[0].partition("_amx_")[2] for name in kernels}


def byte_graph(shape: tuple[int, int, int, int, int], attributes: dict[str, Any], x: Any, y: Any) -> Graph:
    """A convolution of bytes whose result spreads over the range of its output; ``y`` None gives float32."""
    height, width, channels, outputs, kernel = shape
    generator = np.random.default_rng(outputs + channels)
    constants = {
        "x_scale": F32(0.02), "x_zero": np.array(-9 if x is I8 else 121, x),
        "weight": generator.integers(-128, 128, (outputs, channels, kernel, kernel)).astype(I8),
        "w_scale": (0.001 + 0.01 * generator.random(outputs)).astype(F32), "w_zero": np.array(0, I8),
        "bias": generator.integers(-3000, 3000, outputs).astype(np.int32),
    }  # fmt: skip
    if y is not None:
        constants["y_scale"] = F32(0.01 * kernel * np.sqrt(channels))
        constants["y_zero"] = np.array(7 if y is I8 else 130, y)
    graph = Graph("bytes", ["x"], ["y"])
    graph.types["x"] = TensorType(DType(np.dtype(x).name), (2, height, width, channels))
    for name, value in constants.items():
        graph.add_constant(name, np.asarray(value))
    result = ["y_scale", "y_zero"] if y is not None else ["", ""]
    inputs = ["x", "x_scale", "x_zero", "weight", "w_scale", "w_zero", *result, "bias"]
    attributes = {"pads": [kernel // 2] * 4, "layout": "NHWC", **attributes}
    graph.nodes = [Node("QConv", inputs, ["y"], attributes, "conv", FUSED)]
    return graph


def float_graph(
    shape: tuple[int, int, int, int, int], attributes: dict[str, Any], normalised: bool, residual: bool
) -> Graph:
    """A convolution of floats, of a normalised picture where it is wanted, plus another one."""
    height, width, channels, outputs, kernel = shape
    generator = np.random.default_rng(outputs + channels)
    graph = Graph("floats", ["x"], ["y"])
    graph.types["x"] = TensorType(DType.FLOAT32, (2, height, width, channels))
    weight = generator.standard_normal((outputs, channels, kernel, kernel), F32)
    graph.add_constant("weight", weight / F32(kernel * np.sqrt(channels)))
    graph.add_constant("bias", generator.standard_normal(outputs, F32))
    attributes = {"pads": [kernel // 2] * 4, "layout": "NHWC", **attributes}
    source = "x"
    if normalised:
        graph.add_constant("scale", generator.random(channels, F32) + 1)
        graph.add_constant("shift", generator.standard_normal(channels, F32))
        norm = {"epsilon": 1e-5, "layout": "NHWC", "activation": "Relu"}
        graph.nodes = [Node("InstanceNormalization", ["x", "scale", "shift"], ["n"], norm, "norm", FUSED)]
        source = "n"
    inputs = [source, "weight", "bias"]
    if residual:
        sum_of_none = run_graph(graph_with(graph, inputs, attributes), {"x": np.zeros(graph.types["x"].shape, F32)})
        graph.inputs.append("r")
        graph.types["r"] = TensorType(DType.FLOAT32, sum_of_none["y"].shape)
        inputs = [*inputs, "r"]
    return graph_with(graph, inputs, attributes)


def graph_with(graph: Graph, inputs: list[str], attributes: dict[str, Any]) -> Graph:
    """The graph with the convolution as its last node."""
    nodes = [node for node in graph.nodes if node.name != "conv"]
    graph.nodes = [*nodes, Node("Conv", inputs, ["y"], attributes, "conv", FUSED)]
    return graph


@needs_amx
@pytest.mark.parametrize(("x", "y"), [(U8, U8), (I8, I8), (U8, None)], ids=["u8", "i8", "float"])
@pytest.mark.parametrize(("shape", "attributes", "kinds"), CASES, ids=label)
def test_bytes_equal_the_reference_bit_by_bit(shape, attributes, kinds, x, y):
    graph = byte_graph(shape, attributes, x, y)
    limits = np.iinfo(x)
    shape_of_x = graph.types["x"].shape
    feeds = {"x": np.random.default_rng(1).integers(limits.min, limits.max + 1, shape_of_x).astype(x)}
    expected = run_graph(graph, feeds)["y"].astype(np.float64)
    with Session(graph, kernels=kernels_for(LEVEL)) as session:
        kernels = amx_kernels(session.plan({"x": shape_of_x}).candidates["conv"])
    # Rows of taps are read as they are, so not where bytes change their sign.
    assert kinds_of(kernels) >= ({"conv"} if x is I8 else kinds - {"packed_conv"} if shape[2] % 4 == 0 else kinds)
    for kernel in sorted(kernels):
        for threads in (1, 2):
            with Session(graph, threads=threads, kernels=kernels_for(LEVEL), choices={"conv": kernel}) as session:
                assert kernel in [step.kernel for step in session.profile(feeds)]
                found = session.run(feeds)["y"]
        if y is None:
            np.testing.assert_allclose(found, expected, rtol=2e-7)
        else:
            off = 1 if attributes.get("activation") == "Sigmoid" else 0
            assert np.abs(found.astype(np.float64) - expected).max() <= off, kernel


def rounded(values: np.ndarray) -> np.ndarray:
    """The float32 that bfloat16 makes of values."""
    return (to_bfloat16(values).astype(np.uint32) << np.uint32(16)).view(F32)


def run_bfloat16(graph: Graph, feeds: dict[str, np.ndarray], threads: int, kernel: str) -> tuple[np.ndarray, list[str]]:
    """The output by a kernel, and the families of the steps."""
    with Session(
        graph, threads=threads, kernels=kernels_for(LEVEL), precision="bfloat16", choices={"conv": kernel}
    ) as session:
        steps = [str(step.kernel) for step in session.profile(feeds)]
        assert kernel in steps
        return session.run(feeds)["y"], [name.partition("__")[0] for name in steps]


def bfloat16_kernels(graph: Graph) -> list[str]:
    shapes = {name: graph.types[name].shape for name in graph.inputs}
    with Session(graph, kernels=kernels_for(LEVEL), precision="bfloat16") as session:
        return sorted(amx_kernels(session.plan(shapes).candidates["conv"]))


@needs_amx
@pytest.mark.parametrize("residual", [False, True], ids=["alone", "residual"])
@pytest.mark.parametrize(("shape", "attributes", "kinds"), CASES, ids=label)
def test_products_of_bfloat16_are_those_of_rounded_factors(shape, attributes, kinds, residual):
    graph = float_graph(shape, attributes, normalised=False, residual=residual)
    generator = np.random.default_rng(1)
    feeds = {name: generator.standard_normal(graph.types[name].shape, F32) for name in graph.inputs}
    kernels = bfloat16_kernels(graph)
    assert kinds_of(set(kernels)) >= kinds
    found = {(k, threads): run_bfloat16(graph, feeds, threads, k)[0] for k in kernels for threads in (1, 2)}
    graph.constants["weight"] = rounded(graph.constants["weight"])
    expected = run_graph(graph, {**feeds, "x": rounded(feeds["x"])})["y"]
    for y in found.values():
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-5)


@needs_amx
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("channels", [16, 48, 24])
def test_a_picture_is_normalised_where_it_is_read(channels, pad_mode):
    graph = float_graph((10, 19, channels, 24, 3), {"pad_mode": pad_mode}, normalised=True, residual=False)
    feeds = {"x": 3 * np.random.default_rng(1).standard_normal((2, 10, 19, channels), F32) + 2}
    expected = run_graph(graph, feeds)["y"]
    for kernel in bfloat16_kernels(graph):
        y, families = run_bfloat16(graph, feeds, 2, kernel)
        # Only whole vectors of channels are.
        assert ("f32_scale_shift" in families) == (channels % 16 != 0)
        error = np.sqrt(np.mean((y - expected) ** 2)) / np.std(expected)
        assert 0 < error < 0.005


@needs_amx
def test_numbers_that_are_none_stay_in_their_outputs():
    graph = float_graph((9, 21, 6, 20, 3), {}, normalised=False, residual=False)
    x = np.random.default_rng(1).standard_normal((2, 9, 21, 6), F32)
    x[0, 4, 10, 2], x[1, 8, 20, 5] = np.nan, np.inf
    expected = run_graph(graph, {"x": x})["y"]
    for kernel in bfloat16_kernels(graph):
        y, _ = run_bfloat16(graph, {"x": x}, 1, kernel)
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))


@pytest.mark.parametrize(("run", "chunk"), [(1, 1), (16, 16), (24, 12), (30, 15), (40, 10), (48, 16), (17, 1), (34, 2)])
def test_a_run_is_cut_into_as_few_equal_chunks_as_there_can_be(run, chunk):
    assert chunk_units(run) == chunk


def test_planner_and_kernels_cut_pixels_alike():
    pytest.importorskip("numba", reason="kernels cannot be made here")
    conv, tile = (importlib.import_module(f"edgeinfer.{name}") for name in ("kernels.amx_conv", "simd.amx_tile"))
    assert (planned.BAND, planned.TILE_PIXELS, planned.MOST_UNITS) == (conv.BAND, tile.TILE_PIXELS, tile.MOST_UNITS)


def test_a_process_that_may_not_use_tile_registers_has_no_such_level(monkeypatch):
    monkeypatch.setattr(cpu, "tile_registers_allowed", lambda: False)
    assert LEVEL not in cpu.available_levels()
    monkeypatch.setattr(kernel_loader, "available_levels", lambda: ["bf16", "vnni"])
    with pytest.raises(KernelError, match="tile registers"):
        kernels_for.__wrapped__(LEVEL)
