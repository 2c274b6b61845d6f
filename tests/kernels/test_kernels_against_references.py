"""Every native operator against its NumPy reference, over ugly sizes, all CPU levels, one and two threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from edgeinfer.graph import FUSED, ONNX, DType, Graph, Node, TensorType
from edgeinfer.ops import run_graph
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

# The others have the float kernels of their base.
LEVELS = [level for level in available_levels() if not CPU_LEVELS[level].has_floats_of_base]
# 1, 3, around the lanes of every level, and a prime.
UGLY = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 37)


@dataclass
class Case:
    """One node with the shapes of its inputs; arrays among the inputs are constants."""

    op: str
    inputs: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ONNX
    tolerance: float = 2e-6
    outputs: int = 1

    @property
    def label(self) -> str:
        shapes = ["x".join(map(str, i.shape if isinstance(i, np.ndarray) else i)) for i in self.inputs if i is not None]
        attributes = ",".join(f"{k}={v}" for k, v in self.attributes.items() if k != "layout")
        return f"{self.op}({';'.join(shapes)}){attributes}"


def check(case: Case, level: str, threads: int, positive: bool = False, every_candidate: bool = False) -> set[str]:
    """Run the case natively and by its reference; no step may fall back to the host.

    With ``every_candidate`` it runs by each kernel that the planner could take; returns the names of kernels that ran.
    """
    generator = np.random.default_rng(len(case.label))
    graph = Graph("case")
    names, feeds = [], {}
    for index, item in enumerate(case.inputs):
        name = "" if item is None else f"x{index}"
        names.append(name)
        if isinstance(item, np.ndarray):
            graph.constants[name] = item
            graph.types[name] = TensorType(DType.of(item), item.shape)
        elif item is not None:
            graph.inputs.append(name)
            graph.types[name] = TensorType(DType.FLOAT32, tuple(item))
            values = generator.standard_normal(item, np.float32)
            feeds[name] = np.abs(values) + np.float32(0.1) if positive else values
    graph.outputs = [f"y{index}" for index in range(case.outputs)]
    graph.nodes = [Node(case.op, names, list(graph.outputs), case.attributes, "node", case.domain)]
    expected = run_graph(graph, feeds)
    candidates: list[str] = []
    kernels: set[str] = set()
    for choice in _choices(every_candidate, candidates):
        with Session(graph, threads=threads, kernels=kernels_for(level), choices=choice) as session:
            plan = session.plan({name: array.shape for name, array in feeds.items()})
            assert [step.reason for step in plan.host_steps()] == []
            candidates += plan.candidates.get("node", [])
            kernels.update(plan.kernel_names())
            for _ in range(2):
                results = session.run(feeds)
        for name, wanted in expected.items():
            scale = max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
            np.testing.assert_allclose(results[name], wanted, rtol=1e-5, atol=case.tolerance * scale)
    return kernels


def _choices(every_candidate: bool, candidates: list[str]) -> Iterator[dict[str, str]]:
    """The planner's own choice, then each of the candidates that the first run finds."""
    yield {}
    if every_candidate:
        yield from ({"node": name} for name in candidates[1:].copy())


def weights(*shape: int) -> np.ndarray:
    fan_in = int(np.prod(shape[1:])) or 1
    return (np.random.default_rng(sum(shape)).standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def conv(
    n: int, h: int, w: int, c: int, o: int, k: int, group: int = 1, residual: bool = False, **attributes: Any
) -> Case:
    pads = attributes.get("pads", [0] * 4)
    up = attributes.get("upsample", [1, 1])
    strides, dilations = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    height = (h * up[0] + pads[0] + pads[2] - (k - 1) * dilations[0] - 1) // strides[0] + 1
    width = (w * up[1] + pads[1] + pads[3] - (k - 1) * dilations[1] - 1) // strides[1] + 1
    inputs: list[Any] = [(n, h, w, c * group), weights(o, c, k, k), weights(o)]
    if residual:
        inputs.append((n, height, width, o))
    return Case("Conv", inputs, {**attributes, "group": group, "layout": "NHWC"}, FUSED, tolerance=2e-5)


CONV_CASES = [
    *[conv(1, 5, size, 3, size, 3, pads=[1] * 4) for size in UGLY],
    *[conv(1, size, 9, size, 5, 3, pads=[1] * 4, pad_mode="reflect") for size in UGLY if size > 1],
    conv(2, 9, 13, 19, 35, 3, pads=[1] * 4, residual=True, activation="Relu"),
    conv(1, 17, 18, 32, 33, 3, pads=[1] * 4, pad_mode="edge", activation="HardSwish"),
    conv(1, 8, 6, 16, 16, 3, pads=[1] * 4, pad_mode="reflect", upsample=[2, 2]),
    conv(1, 8, 6, 16, 16, 3, pads=[1] * 4, upsample=[2, 3], strides=[2, 2]),
    conv(1, 7, 5, 5, 17, 3, pads=[1] * 4, pad_mode="reflect", upsample=[2, 2], residual=True, activation="Sigmoid"),
    conv(2, 5, 9, 16, 33, 3, pads=[1] * 4, upsample=[2, 2]),
    conv(1, 8, 6, 8, 8, 5, pads=[2] * 4, upsample=[2, 2], residual=True),
    conv(1, 5, 6, 3, 4, 5, pads=[2] * 4, pad_mode="edge", upsample=[3, 2]),
    conv(1, 9, 8, 7, 16, 5, pads=[2] * 4, pad_mode="reflect", upsample=[2, 2]),
    conv(1, 9, 8, 7, 14, 5, pads=[2, 0, 1, 2], pad_mode="reflect", upsample=[3, 3], group=7),
    conv(1, 11, 12, 3, 8, 7, pads=[3, 2, 3, 4], strides=[2, 3]),
    conv(1, 13, 12, 4, 6, 3, pads=[2] * 4, dilations=[2, 2], residual=True),
    conv(1, 12, 9, 4, 6, 3, group=3, pads=[1] * 4, activation="Sigmoid"),
    conv(1, 7, 7, 64, 70, 1),
    conv(3, 1, 1, 65, 33, 1, activation="Clip", activation_parameters=[-0.5, 0.5]),
    conv(1, 20, 21, 32, 3, 9, pads=[4] * 4, pad_mode="reflect", activation="Tanh"),
    conv(2, 9, 8, 8, 1, 3, pads=[1] * 4, residual=True),
    conv(1, 22, 150, 7, 4, 5, pads=[2, 3, 0, 1], residual=True, activation="Relu"),
    conv(2, 5, 3, 9, 2, 4, pads=[1, 2, 2, 1], pad_mode="edge", upsample=[2, 2]),
    conv(1, 21, 37, 3, 32, 9, pads=[4] * 4, pad_mode="reflect"),
    conv(2, 18, 50, 1, 37, 7, pads=[3] * 4, activation="Gelu"),
    conv(1, 45, 35, 3, 64, 5, pads=[2] * 4, residual=True, activation="Relu"),
    conv(1, 16, 70, 16, 64, 5, pads=[0, 1, 2, 3], pad_mode="edge"),
    conv(1, 7, 7, 96, 80, 3, pads=[1] * 4, residual=True, activation="Relu"),
    conv(1, 29, 31, 40, 19, 3, pads=[1] * 4, residual=True),
    *[conv(1, 7, size, 3, size, 3, pads=[1] * 4, strides=[2, 2]) for size in UGLY],
    conv(2, 29, 16, 19, 35, 3, pads=[0, 1, 1, 0], strides=[2, 2], residual=True, activation="Relu"),
    conv(1, 31, 33, 24, 20, 3, pads=[1] * 4, strides=[2, 2], pad_mode="reflect", activation="HardSwish"),
    conv(1, 23, 46, 3, 17, 7, pads=[3] * 4, strides=[2, 2], activation="Relu"),
    conv(2, 17, 16, 5, 33, 7, pads=[3, 2, 1, 4], strides=[2, 2], pad_mode="edge", residual=True),
    *[conv(1, 9, 10, 1, c, 3, group=c, pads=[1] * 4, activation="Relu") for c in (4, 8, 16, 17, 33)],
    conv(2, 9, 10, 1, 20, 5, group=20, pads=[2] * 4, strides=[2, 2], residual=True),
    conv(1, 9, 10, 1, 18, 3, group=18, pads=[1] * 4, pad_mode="reflect", dilations=[2, 1]),
    conv(1, 6, 7, 1, 24, 7, group=24, pads=[3] * 4, activation="Silu"),
    conv(1, 5, 6, 1, 19, 3, group=19, pads=[1] * 4, upsample=[2, 2]),
    *[
        Case(
            "Conv",
            [(2, 9, 10, 19), weights(19, 1, size, size), weights(19), None, weights(19)],
            {"group": 19, "pads": [size // 2] * 4, "strides": [stride] * 2, "layout": "NHWC"},
            FUSED,
            2e-5,
        )
        for size, stride in ((3, 1), (3, 2), (5, 1), (7, 1))
    ],
]


def transposed(h: int, w: int, c: int, o: int, k: int, s: int, p: int, group: int = 1, extra: int = 0) -> Case:
    attributes = {
        "strides": [s, s],
        "pads": [p] * 4,
        "output_padding": [extra] * 2,
        "group": group,
        "layout": "NHWC",
        "activation": "Relu",
    }
    return Case("ConvTranspose", [(2, h, w, c), weights(c, o // group, k, k), weights(o)], attributes, FUSED, 2e-5)


TRANSPOSED_CASES = [
    transposed(7, 9, 5, 6, 2, 2, 0),
    transposed(7, 9, 5, 6, 3, 2, 1, extra=1),
    transposed(7, 9, 8, 6, 4, 2, 1, group=2),
    transposed(5, 4, 3, 4, 5, 3, 2),
    transposed(5, 4, 17, 18, 3, 1, 1),
]

MATMUL_CASES = [
    *[Case("MatMul", [(rows, 7), weights(7, 19)], tolerance=1e-5) for rows in UGLY],
    Case("MatMul", [(3, 7, 5), (3, 5, 9)], tolerance=1e-5),
    Case("MatMul", [(2, 1, 17, 40), (3, 40, 33)], tolerance=1e-5),
    Case("MatMul", [(4, 9), (9, 37), weights(37)], {"activation": "Gelu"}, FUSED, 1e-5),
    Case("MatMul", [(2, 5, 9), weights(9, 37), weights(37)], {"activation": "Relu"}, FUSED, 1e-5),
    Case("Gemm", [(5, 33), weights(17, 33), weights(17)], {"transB": 1}, tolerance=1e-5),
]

NORM_CASES = [
    *[
        Case("InstanceNormalization", [(2, 5, 7, c), (c,), (c,)], {"layout": "NHWC", "activation": "Relu"}, FUSED, 1e-5)
        for c in UGLY
    ],
    Case("InstanceNormalization", [(1, 37, 41, 20), (20,), (20,), (1, 37, 41, 20)], {"layout": "NHWC"}, FUSED, 1e-5),
    Case(
        "BatchNormalization",
        [(2, 3, 5, 19), weights(19), weights(19), weights(19), np.abs(weights(19)) + np.float32(0.5)],
        {"layout": "NHWC"},
        FUSED,
        1e-5,
    ),
    *[Case("LayerNormalization", [(3, 2, c), weights(c), weights(c)], tolerance=1e-5) for c in UGLY if c > 1],
]

UNARY = (
    "Relu",
    "LeakyRelu",
    "HardSigmoid",
    "HardSwish",
    "Sigmoid",
    "Tanh",
    "Gelu",
    "Elu",
    "Abs",
    "Neg",
    "Exp",
    "Floor",
    "Ceil",
    "Round",
    "Erf",
    "Swish",
)
ELEMENTWISE_CASES = [
    *[Case(name, [(37,)]) for name in UNARY],
    *[Case("Sigmoid", [(size,)]) for size in (*UGLY, 5000)],
    Case("Clip", [(5, 7), np.array(-0.3, np.float32), np.array(0.4, np.float32)]),
    *[Case(name, [(3, 5, 17), (3, 5, 17)]) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")],
    Case("Add", [(2, 3, 5, 17), (17,)]),
    *[Case("Sub", [(2, 30, 34, channels), (2, 1, 1, channels)]) for channels in (1, 3, 8, 20)],
    Case("Mul", [weights(3), (26, 31, 3)]),
    Case("Add", [(4, 6, 50, 3), (4, 1, 1, 3)], {"activation": "Relu"}, FUSED),
    Case("Sub", [(17,), (2, 3, 5, 17)]),
    Case("Mul", [(2, 3, 5, 17), (2, 1, 1, 17)]),
    Case("Mul", [(2, 3, 5, 17), (2, 3, 5, 1)]),
    Case("Div", [(2, 3, 5, 17), np.array(3, np.float32)]),
    Case("Add", [(2, 1, 5, 1), (1, 3, 1, 9)]),
    Case("Add", [(5, 9000), (5, 9000)]),
    Case("Add", [(3, 4), (3, 4)], {"activation": "Relu"}, FUSED),
    Case("Sum", [(3, 4), (3, 4), (3, 4)]),
]

COPY_CASES = [
    *[Case("Transpose", [(2, c, 5, 7)], {"perm": [0, 2, 3, 1]}) for c in UGLY],
    *[Case("Transpose", [(2, 5, 7, c)], {"perm": [0, 3, 1, 2]}) for c in UGLY],
    Case("Transpose", [(2, 3, 4, 5)], {"perm": [3, 1, 0, 2]}),
    Case("Transpose", [(37, 41)], {}),
    Case("Slice", [(5, 17, 3), *[np.array(v) for v in ([1, -1], [4, -100], [0, 1], [2, -3])]]),
    Case("Concat", [(2, 3, 5), (2, 4, 5), (2, 1, 5)], {"axis": 1}),
    Case("Split", [(2, 9, 5)], {"axis": 1, "num_outputs": 3}, outputs=3),
    Case("Expand", [(3, 1, 5), np.array([2, 3, 4, 5])]),
    Case("Tile", [(3, 2, 5), np.array([1, 2, 3])]),
    Case("Gather", [(5, 7, 3), np.array([[0, -1], [3, 3]])], {"axis": 1}),
    *[
        Case("Pad", [(2, 5, 7, 3), np.array([0, 2, 1, 0, 0, 3, 2, 0])], {"mode": m})
        for m in ("constant", "reflect", "edge", "wrap")
    ],
    Case("Pad", [(5, 7), np.array([1, -1, 0, 2]), np.array(1.5, np.float32)]),
    Case("DepthToSpace", [(1, 3, 5, 12)], {"blocksize": 2, "layout": "NHWC"}, FUSED),
    Case("DepthToSpace", [(2, 3, 5, 18)], {"blocksize": 3, "mode": "CRD", "layout": "NHWC"}, FUSED),
    Case("SpaceToDepth", [(2, 6, 4, 5)], {"blocksize": 2, "layout": "NHWC"}, FUSED),
]

POOL_CASES = [
    *[
        Case(
            op,
            [(2, 9, 10, c)],
            {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "layout": "NHWC"},
            FUSED,
        )
        for op in ("MaxPool", "AveragePool")
        for c in (1, 3, 16, 17)
    ],
    Case(
        "AveragePool",
        [(1, 7, 7, 5)],
        {
            "kernel_shape": [3, 3],
            "strides": [2, 2],
            "pads": [1] * 4,
            "count_include_pad": 1,
            "ceil_mode": 1,
            "layout": "NHWC",
        },
        FUSED,
    ),
    Case(
        "MaxPool",
        [(1, 9, 8, 37)],
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "layout": "NHWC"},
        FUSED,
    ),
    Case(
        "MaxPool",
        [(1, 8, 8, 5)],
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "dilations": [1, 2], "layout": "NHWC"},
        FUSED,
    ),
    *[
        Case(op, [(2, 7, 5, c)], {"layout": "NHWC"}, FUSED)
        for op in ("GlobalAveragePool", "GlobalMaxPool")
        for c in UGLY
    ],
]

REDUCE_CASES = [
    *[Case("Softmax", [(3, size)]) for size in UGLY],
    Case("LogSoftmax", [(3, 19)]),
    Case("Softmax", [(2, 7, 5, 3)], {"axis": 1}),
    *[
        Case(name, [(3, 7, 19), np.array(axes)], {"keepdims": keep})
        for name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")
        for axes, keep in (([1], 1), ([2], 0), ([0, 1], 1), ([1, 2], 0))
    ],
]

RESIZE_CASES = [
    Case(
        "Resize",
        [(1, 5, 7, 9), None, np.array([1, 1, rows, columns], np.float32)],
        {"mode": mode, "coordinate_transformation_mode": coordinates, "layout": "NHWC"},
        FUSED,
        1e-5,
    )
    for mode in ("nearest", "linear", "cubic")
    for coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
    for rows, columns in ((2, 2), (0.6, 1.7))
]

ALL = [
    *CONV_CASES,
    *TRANSPOSED_CASES,
    *MATMUL_CASES,
    *NORM_CASES,
    *ELEMENTWISE_CASES,
    *COPY_CASES,
    *POOL_CASES,
    *REDUCE_CASES,
    *RESIZE_CASES,
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.label)
def test_kernel_equals_reference(case: Case, level: str):
    for threads in (1, 2):
        check(case, level, threads)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["Log", "Sqrt", "Reciprocal"])
def test_functions_of_positive_numbers_equal_reference(name: str, level: str):
    check(Case(name, [(1000,)]), level, 1, positive=True)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", [case for case in CONV_CASES if case.attributes["group"] == 1], ids=lambda c: c.label)
def test_every_algorithm_for_a_convolution_equals_reference(case: Case, level: str):
    assert len(check(case, level, 2, every_candidate=True)) > 1


@pytest.mark.parametrize("level", LEVELS)
def test_algorithms_are_candidates(level: str):
    few_outputs = check(conv(1, 20, 21, 32, 3, 9, pads=[4] * 4), level, 1, every_candidate=True)
    many_outputs = check(conv(1, 16, 16, 16, 32, 5, pads=[2] * 4), level, 1, every_candidate=True)
    three = check(conv(1, 16, 16, 16, 32, 3, pads=[1] * 4), level, 1, every_candidate=True)
    strided = check(conv(1, 16, 16, 16, 32, 3, pads=[1] * 4, strides=[2, 2]), level, 1, every_candidate=True)
    seven = check(conv(1, 16, 16, 3, 32, 7, pads=[3] * 4, strides=[2, 2]), level, 1, every_candidate=True)
    families = {name.split("__")[0] for name in (*few_outputs, *many_outputs, *three, *strided, *seven)}
    everywhere = {
        "f32_conv", "f32_conv_few_outputs", "f32_winograd_few_outputs", "f32_winograd_parts", "f32_winograd4x4",
        "f32_winograd2x2",
    }  # fmt: skip
    larger_tiles_and_strides = {
        "f32_winograd6x6", "f32_winograd7x7_stride2_3x3", "f32_winograd4x4_stride2_3x3", "f32_winograd5x5_stride2_7x7",
    }  # fmt: skip
    of_avx2, of_avx512 = {"f32_winograd_pixels", "f32_winograd2x2_stride2_3x3"}, {"f32_winograd1x2"}
    at_level = {row.family for row in kernels_for(level).kernel_set.rows.values()}
    assert families == everywhere | (at_level & (larger_tiles_and_strides | of_avx2 | of_avx512))
    assert at_level >= larger_tiles_and_strides or not CPU_LEVELS[level].by_lane
    assert at_level & of_avx2 == (of_avx2 if "avx2" in (level, CPU_LEVELS[level].base) else set())
    assert at_level & of_avx512 == (of_avx512 if "avx512" in (level, CPU_LEVELS[level].base) else set())
