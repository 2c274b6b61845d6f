"""Convolutions with bfloat16 products: equal to float32 ones of rounded factors, and near those of exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import PlanError
from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops.evaluate import run_graph
from edgeinfer.plan.lowering.units import to_bfloat16
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session

needs_bfloat16 = pytest.mark.skipif("bf16" not in available_levels(), reason="this CPU has no AVX-512 BF16")


def rounded(values: np.ndarray) -> np.ndarray:
    """The float32 that bfloat16 makes of values."""
    return (to_bfloat16(values).astype(np.uint32) << np.uint32(16)).view(np.float32)


def conv_graph(height: int, width: int, channels: int, outputs: int, kernel: int, **attributes: object) -> Graph:
    generator = np.random.default_rng(outputs)
    weight = generator.standard_normal((outputs, channels, kernel, kernel), np.float32) / np.float32(kernel)
    graph = Graph("conv", ["x"], ["y"])
    graph.types["x"] = TensorType(DType.FLOAT32, (2, height, width, channels))
    graph.add_constant("weight", weight / np.float32(np.sqrt(channels)))
    graph.add_constant("bias", generator.standard_normal(outputs, np.float32))
    pad = kernel // 2
    attributes = {"pads": [pad] * 4, "layout": "NHWC", **attributes}
    graph.nodes = [Node("Conv", ["x", "weight", "bias"], ["y"], attributes, "conv", FUSED)]
    return graph


def run(graph: Graph, x: np.ndarray, threads: int = 1) -> tuple[np.ndarray, list[str]]:
    with Session(graph, threads=threads, kernels=kernels_for("bf16"), precision="bfloat16") as session:
        return session.run({"x": x})["y"], [step.kernel for step in session.profile({"x": x})]


@needs_bfloat16
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ["", "Relu", "Silu"])
@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((9, 14, 32, 48, 1), {}),
        ((7, 5, 18, 33, 3), {"strides": [2, 2]}),
        ((6, 13, 34, 17, 5), {"pad_mode": "reflect"}),
        ((8, 9, 16, 40, 3), {"dilations": [2, 2], "pads": [2] * 4, "pad_mode": "edge"}),
        ((5, 6, 16, 32, 3), {"upsample": [2, 2], "strides": [2, 1]}),
        ((20, 21, 32, 3, 9), {"pad_mode": "reflect"}),
    ],
    ids=str,
)
def test_direct_products_are_those_of_rounded_factors(shape, attributes, activation, threads):
    graph = conv_graph(*shape, activation=activation, **attributes)
    x = np.random.default_rng(0).standard_normal((2, *shape[:3]), np.float32)
    y, kernels = run(graph, x, threads)
    assert any(name.startswith("bf16_conv") for name in kernels)
    graph.constants["weight"] = rounded(graph.constants["weight"])
    expected = run_graph(graph, {"x": rounded(x)})["y"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=2e-5)


@needs_bfloat16
@pytest.mark.parametrize("shape", [(16, 16, 64, 64, 3), (13, 27, 32, 40, 3), (7, 7, 128, 96, 3)], ids=str)
def test_winograd_error_stays_small_beside_the_output(shape):
    graph = conv_graph(*shape)
    x = np.random.default_rng(0).standard_normal((2, *shape[:3]), np.float32)
    y, kernels = run(graph, x)
    assert any(name.startswith("bf16_winograd") for name in kernels)
    expected = run_graph(graph, {"x": x})["y"]
    error = np.sqrt(np.mean((y - expected) ** 2)) / np.std(expected)
    # F(4x4, 3x3) adds up rounded sums of up to 100 inputs: about four times the error of direct products.
    assert 0 < error < 0.02


@needs_bfloat16
def test_odd_channels_and_groups_keep_float32_products():
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 15), np.float32)
    graph = conv_graph(8, 8, 15, 32, 3)
    y, kernels = run(graph, x)
    assert all(not name.startswith("bf16") for name in kernels)
    np.testing.assert_allclose(y, run_graph(graph, {"x": x})["y"], rtol=1e-5, atol=2e-5)


def test_rounding_is_half_to_even_and_keeps_infinities_and_nan():
    values = np.array([1.0, 1.00390625, 1.01171875, 3.4e38, np.inf, -np.inf, np.nan], np.float32)
    wanted = np.array([1.0, 1.0, 1.015625, np.inf, np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(rounded(values), wanted)


@pytest.mark.parametrize(("precision", "message"), [("float8", "float32, bfloat16"), ("bfloat16", "AVX-512 BF16")])
def test_precision_that_is_not_there_is_refused(precision, message):
    level = next(level for level in available_levels() if level not in ("amx", "bf16"))
    with pytest.raises(PlanError, match=message):
        Session(conv_graph(4, 4, 4, 4, 1), kernels=kernels_for(level), precision=precision)
