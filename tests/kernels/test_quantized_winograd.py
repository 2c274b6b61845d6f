"""Winograd convolutions of bytes are exact: they equal the direct convolution of the reference bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import infer_types, run_graph
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.packed_weights import filtering_of
from edgeinfer.plan.lowering.quantized_winograd import (
    FAMILIES,
    FEW_OUTPUTS_FAMILY,
    FILTER_ROWS,
    PARTS_FAMILY,
    pack_word_filters,
    sums_fit,
)
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

# Levels whose vectors and products of words are their base's have its kernels.
LEVELS = [
    level
    for level in available_levels()
    if CPU_LEVELS[level].architecture == "x86_64"
    and (not CPU_LEVELS[level].base or CPU_LEVELS[level].dot != CPU_LEVELS[CPU_LEVELS[level].base].dot)
]
U8, I8 = np.uint8, np.int8


def graph_of(
    size: tuple[int, int] = (11, 14),
    channels: int = 32,
    outputs: int = 24,
    kernel: int = 3,
    x: Any = U8,
    y: Any = U8,
    weight: np.ndarray | None = None,
    batch: int = 2,
    **attributes: object,
) -> Graph:
    """A convolution whose result spreads over the range of its output; ``y`` None gives float32."""
    generator = np.random.default_rng(channels + outputs + kernel)
    graph = Graph("quantized", ["x"], ["y"])
    graph.types["x"] = TensorType(DType(np.dtype(x).name), (batch, *size, channels))
    if weight is None:
        weight = generator.integers(-128, 128, (outputs, channels, kernel, kernel)).astype(I8)
    constants = {
        "x_scale": np.float32(0.02), "x_zero": np.array(-9 if x is I8 else 121, x), "weight": weight,
        "w_scale": (0.001 + 0.01 * generator.random(len(weight))).astype(np.float32), "w_zero": np.array(0, I8),
        "bias": generator.integers(-3000, 3000, len(weight)).astype(np.int32),
    }  # fmt: skip
    if y is not None:
        constants["y_scale"] = np.float32(0.01 * kernel * np.sqrt(channels))
        constants["y_zero"] = np.array(5 if y is I8 else 130, y)
    for name, value in constants.items():
        graph.add_constant(name, np.asarray(value))
    names = ["x", "x_scale", "x_zero", "weight", "w_scale", "w_zero", "y_scale", "y_zero", "bias"]
    inputs = [name if name == "x" or name in constants else "" for name in names]
    attributes = {"pads": [kernel // 2] * 4, "layout": "NHWC", **attributes}
    graph.nodes = [Node("QConv", inputs, ["y"], attributes, "conv", FUSED)]
    graph.types = infer_types(graph)[0]
    return graph


def random_picture(graph: Graph) -> np.ndarray:
    """Bytes of all values."""
    known = graph.types["x"]
    limits = np.iinfo(known.dtype.value)
    generator = np.random.default_rng(1)
    return generator.integers(limits.min, limits.max + 1, known.shape).astype(known.dtype.value)


def run_all(graph: Graph, level: str, picture: np.ndarray, threads: int = 1) -> dict[str, np.ndarray]:
    """Results of all Winograd kernels that the convolution can take."""
    with Session(graph, threads=threads, kernels=kernels_for(level)) as session:
        candidates = session.plan({"x": picture.shape}).candidates["conv"]
    results = {}
    for kernel in candidates:
        if "winograd" in kernel:
            choice = {"conv": kernel}
            with Session(graph, threads=threads, kernels=kernels_for(level), choices=choice) as session:
                results[kernel] = session.run({"x": picture})["y"]
                assert kernel in [step.kernel for step in session.profile({"x": picture})]
    return results


def families(stride: int) -> list[str]:
    """Families of kernels for 3x3 filters with a stride."""
    return sorted(family for family in FAMILIES if ("stride2" in family) == (stride == 2))


def check(graph: Graph, level: str, threads: int, wanted: list[str], steps: int = 0) -> None:
    """Results of the wanted families of kernels that the level has, and of others, are those of the reference."""
    kernel_set = kernels_for(level).kernel_set
    wanted = [family for family in wanted if kernel_set.family(family)]
    if not wanted:
        pytest.skip(f"{level} multiplies bytes as fast")
    picture = random_picture(graph)
    expected = run_graph(graph, {"x": picture})["y"]
    results = run_all(graph, level, picture, threads)
    assert set(wanted) <= {kernel.split("__")[0] for kernel in results}
    for y in results.values():
        if expected.dtype == np.float32:
            np.testing.assert_allclose(y, expected, rtol=3e-7, atol=1e-7)
        else:
            assert np.abs(y.astype(int) - expected).max() <= steps


CASES: list[dict[str, Any]] = [
    *[{"size": (size, 7)} for size in (1, 2, 3, 4, 5, 8, 9)],
    *[{"size": (6, size), "batch": 1} for size in (1, 2, 3, 4, 5, 13, 33)],
    *[{"channels": channels} for channels in (8, 9, 12, 20, 31, 33, 64)],
    *[{"outputs": outputs} for outputs in (8, 15, 16, 17, 33)],
    {"x": I8, "y": I8, "pad_mode": "reflect"}, {"y": I8, "pad_mode": "edge"}, {"x": I8, "pad_mode": "reflect"},
    {"y": None}, {"x": I8, "y": None}, {"y": None, "activation": "Relu"}, {"y": None, "activation": "Sigmoid"},
    {"activation": "Relu"}, {"activation": "Clip", "activation_parameters": [-0.5, 0.4]}, {"activation": "HardSwish"},
    *[{"size": (size, 18 - size), "strides": [2, 2]} for size in (1, 2, 3, 4, 8, 9, 17)],
    *[{"channels": c, "outputs": o, "strides": [2, 2], "x": x, "pad_mode": "reflect"} for c, o, x in
      ((20, 33, U8), (9, 17, I8), (64, 16, U8))],
    {"strides": [2, 2], "pads": [0, 0, 1, 1], "y": None}, {"strides": [2, 2], "upsample": [2, 2]},
    {"pads": [0, 2, 1, 0]}, {"upsample": [2, 2]}, {"upsample": [2, 3], "pad_mode": "reflect", "channels": 20},
]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_are_those_of_the_reference(case: dict[str, Any], level: str, threads: int):
    steps = 1 if case.get("activation") == "HardSwish" else 0
    check(graph_of(**case), level, threads, families(int(case.get("strides", [1])[0])), steps)


LARGE_KERNELS: list[dict[str, Any]] = [
    *[{"kernel": kernel, "channels": channels} for kernel, channels in ((5, 3), (7, 4), (9, 3), (6, 5), (5, 16))],
    *[{"size": (size, 17 - size), "channels": 3} for size in (3, 4, 5, 6, 7, 13)],
    {"x": I8, "y": I8, "pad_mode": "reflect", "channels": 3}, {"channels": 6, "outputs": 40, "y": None},
    {"channels": 3, "upsample": [2, 2], "pad_mode": "edge"}, {"channels": 3, "activation": "HardSwish"},
]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", LARGE_KERNELS, ids=str)
def test_large_kernels_are_cut_into_parts(case: dict[str, Any], level: str, threads: int):
    steps = 1 if case.get("activation") == "HardSwish" else 0
    check(graph_of(**{"kernel": 9, "outputs": 33, **case}), level, threads, [PARTS_FAMILY], steps)


FEW_OUTPUTS: list[dict[str, Any]] = [
    *[{"kernel": kernel, "channels": channels} for kernel, channels in ((9, 32), (7, 20), (5, 18), (4, 33))],
    *[{"outputs": outputs} for outputs in (1, 2, 4)],
    *[{"size": (size, 17 - size)} for size in (3, 4, 5, 6, 7, 13)],
    {"x": I8, "y": I8, "pad_mode": "reflect"}, {"y": None}, {"y": None, "activation": "Relu"},
    {"upsample": [2, 2], "pad_mode": "edge"}, {"activation": "HardSwish"},
]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", FEW_OUTPUTS, ids=str)
def test_few_outputs_are_filtered_down_the_columns(case: dict[str, Any], level: str, threads: int):
    steps = 1 if case.get("activation") == "HardSwish" else 0
    check(graph_of(**{"kernel": 9, "outputs": 3, **case}), level, threads, [FEW_OUTPUTS_FAMILY], steps)


@pytest.mark.parametrize("level", LEVELS)
def test_few_outputs_with_an_activation_of_floats_are_left_to_others(level: str):
    graph = graph_of(kernel=9, outputs=3, channels=8, y=None, activation="Sigmoid")
    results = run_all(graph, level, random_picture(graph))
    has_parts = bool(kernels_for(level).kernel_set.family(PARTS_FAMILY))
    assert {kernel.split("__")[0] for kernel in results} == ({PARTS_FAMILY} if has_parts else set())


@pytest.mark.parametrize("level", LEVELS)
def test_the_largest_sums_are_exact(level: str):
    # 228 channels are the most whose sums of 9 * 127 * 128 each are below 2**25.
    weight = np.full((24, 228, 3, 3), 127, I8)
    weight[1::2] = -127
    weight[2] = np.random.default_rng(0).choice(np.array([-127, 127], I8), weight.shape[1:])
    for stride in (1, 2):
        graph = graph_of((9, 10), 228, weight=weight, batch=1, y=None, strides=[stride, stride])
        for extreme in (0, 255):
            picture = np.full((1, 9, 10, 228), extreme, U8)
            expected = run_graph(graph, {"x": picture})["y"]
            results = run_all(graph, level, picture)
            own = [family for family in families(stride) if kernels_for(level).kernel_set.family(family)]
            assert sorted(kernel.split("__")[0] for kernel in results) == own
            for y in results.values():
                np.testing.assert_allclose(y, expected, rtol=2e-7)


def test_kernels_are_left_out_where_sums_might_not_be_exact():
    rows = {row.family: row for row in kernel_rows()}
    assert not sums_fit(np.full(8, 232 * 9 * 127), rows["qu8_winograd4x4"])
    assert sums_fit(np.full(8, 232 * 9 * 127), rows["qu8_winograd2x2"])
    assert sums_fit(np.full(8, 228 * 9 * 127), rows["qu8_winograd4x4"])
    assert not sums_fit(np.full(8, 4096 * 9 * 128), rows["qu8_winograd2x2"])
    assert not sums_fit(np.full(8, 4096 * 9 * 128), rows["qu8_winograd4x4_stride2_3x3"])


@pytest.mark.parametrize("family", FAMILIES)
def test_transformed_filters_fit_words(family: str):
    row = next(row for row in kernel_rows() if row.family == family)
    filtering, columns = filtering_of(row), row.traits["columns"]
    signs = np.random.default_rng(0).choice(np.array([-128, 127], I8), (40, 6, 3, 3))
    packed = pack_word_filters(signs, row, 8).view(np.int16).reshape(2 if columns > 20 else 3, -1, 8, columns, 2)
    matrix = np.array(FILTER_ROWS[filtering[:2]], np.int64)
    assert np.abs(matrix).sum(axis=1).max() ** 2 * 128 < 1 << 15
    first_taps = signs[:, :, :: filtering.stride, :: filtering.stride].astype(np.int64)
    exact = matrix @ first_taps @ matrix.T
    for o, c in ((0, 0), (17, 3), (39, 5)):
        words = packed[o // columns, :, c // 2, o % columns, c % 2]
        assert words[0] == exact[o, c, 0, 0]
        assert words[-1] == exact[o, c, -1, -1]
    assert packed.shape[1] == filtering.products
    assert not packed[:, :, 3:].any()


def kernel_rows() -> list[KernelRow]:
    """Rows of the kernels at the best level that has them."""
    for level in available_levels():
        kernel_set = kernels_for(level).kernel_set
        if all(kernel_set.family(family) for family in FAMILIES):
            return [row for family in FAMILIES for row in kernel_set.family(family)]
    pytest.skip("no level with Winograd convolutions of bytes")
