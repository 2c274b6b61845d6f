"""Kernels on 8-bit tensors equal their references bit by bit, at every level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from edgeinfer.graph import FUSED, ONNX, DType, Graph, Node, TensorType
from edgeinfer.ops import infer_types
from edgeinfer.ops.evaluate import run_graph
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

# A level that adds up bytes as its base does has its base's 8-bit kernels.
LEVELS = [
    level
    for level in available_levels()
    if not CPU_LEVELS[level].base or CPU_LEVELS[level].dot != CPU_LEVELS[CPU_LEVELS[level].base].dot
]
UGLY = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 37)
U8, I8 = np.uint8, np.int8
NHWC = {"layout": "NHWC"}


@dataclass
class Case:
    """One node; arrays among the inputs are constants, pairs (shape, dtype) inputs, None is left out."""

    op: str
    inputs: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = FUSED
    steps: int = 0

    @property
    def label(self) -> str:
        shapes = [f"{'x'.join(map(str, i[0]))}{np.dtype(i[1]).name}" for i in self.inputs if isinstance(i, tuple)]
        sizes = [f"w{'x'.join(map(str, i.shape))}" for i in self.inputs if isinstance(i, np.ndarray) and i.ndim > 1]
        return f"{self.op}({';'.join(shapes + sizes)}){self.attributes}"


def scale(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def zero(value: int, dtype: Any) -> np.ndarray:
    return np.array(value, dtype)


def conv(h: int, w: int, c: int, o: int, k: int, x: Any = U8, y: Any = U8, group: int = 1, **attributes: Any) -> Case:
    """A convolution whose result spreads over the range of its output; ``y`` None gives float32."""
    generator = np.random.default_rng(h * 100 + c * 10 + o)
    weight = generator.integers(-127, 128, (o, c // group, k, k)).astype(np.int8)
    w_scale = (generator.random(o) * 0.01 + 0.001).astype(np.float32)
    spread = 0.02 * 0.006 * 5000 * np.sqrt(c // group * k * k) / 40
    inputs = [((2, h, w, c), x), scale(0.02), zero(3 if x is I8 else 120, x), weight, w_scale, zero(0, I8)]
    inputs += [None, None] if y is None else [scale(spread), zero(-7 if y is I8 else 115, y)]
    inputs.append(generator.integers(-3000, 3000, o).astype(np.int32))
    return Case("QConv", inputs, {"pads": [k // 2] * 4, "group": group, **NHWC, **attributes})


def transposed(
    h: int, w: int, c: int, o: int, k: int, stride: int, x: Any = U8, y: Any = U8, **attributes: Any
) -> Case:
    """A transposed convolution, as ``conv``."""
    case = conv(h, w, c, o, k, x, y)
    case.op, case.attributes = "QConvTranspose", {"strides": [stride] * 2, **NHWC, **attributes}
    case.inputs[3] = np.ascontiguousarray(case.inputs[3].transpose(1, 0, 2, 3))
    return case


def binary(op: str, a: tuple[int, ...], b: tuple[int, ...], x: Any = U8, **attributes: Any) -> Case:
    y_zero = zero(-5 if x is I8 else 100, x)
    inputs = [(a, x), scale(0.02), zero(7, x), (b, x), scale(0.031), zero(11, x), scale(0.05), y_zero]
    return Case(op, inputs, attributes)


def zero_point_of_weights(case: Case, value: int) -> Case:
    """A convolution whose weights less their zero point take nine bits."""
    case.inputs[5] = zero(value, I8)
    case.inputs[6] = scale(0.5)
    return case


def largest_weight(case: Case, weight: int, zero_point: int) -> Case:
    """A convolution some of whose weights are the largest that there can be, whatever their sign."""
    case.inputs[3].reshape(-1)[:8] = weight
    return zero_point_of_weights(case, zero_point)


def large_bias(case: Case) -> Case:
    """A convolution whose biases are beyond the whole numbers that float32 holds."""
    case.inputs[8] = np.linspace(-(2.0**30), 2.0**30, case.inputs[8].size).astype(np.int32)
    case.inputs[6] = scale(2000)
    return case


def halves(case: Case, zero_point: int = 6) -> Case:
    """A convolution with many results half way between two integers, beyond y's range too."""
    for index, value in ((1, 1.0), (4, 1.0), (6, 512.0)):
        case.inputs[index] = np.full_like(case.inputs[index], value)
    case.inputs[7] = np.array(zero_point, case.inputs[7].dtype)
    case.inputs[8] = case.inputs[8] // 256 * 256
    case.inputs[3] = case.inputs[3] // 8 * 8
    return case


PADDED = [1, 1, 1, 1]
NO_PADS: dict[str, Any] = {"pads": [0] * 4}


CASES = [
    *[conv(5, size, 3, size, 3) for size in UGLY],
    *[conv(4, 6, size, 5, 3) for size in UGLY],
    conv(7, 9, 12, 37, 3, strides=[2, 2]),
    conv(7, 9, 16, 33, 3, x=I8, y=I8, pad_mode="reflect"),
    conv(7, 9, 6, 18, 3, x=I8, pad_mode="edge", activation="Relu"),
    conv(6, 7, 8, 20, 3, activation="Clip", activation_parameters=[-0.5, 0.4]),
    conv(6, 7, 8, 20, 3, y=None),
    conv(6, 7, 8, 20, 3, upsample=[2, 2]),
    conv(9, 8, 8, 24, 3, dilations=[2, 2], pads=[2] * 4),
    conv(6, 7, 16, 24, 3, group=2),
    conv(9, 9, 64, 70, 1),
    conv(9, 13, 32, 3, 9, pad_mode="reflect"),
    conv(9, 13, 8, 2, 5, y=None),
    conv(9, 13, 12, 1, 3, x=I8, y=I8, activation="Relu"),
    *[conv(7, size, 16, 16, 3, group=16) for size in UGLY],
    conv(9, 10, 37, 37, 3, group=37, strides=[2, 2], activation="Relu"),
    conv(9, 10, 48, 48, 5, group=48, x=I8, y=I8),
    conv(9, 10, 32, 32, 5, group=32, strides=[2, 2], pad_mode="reflect"),
    conv(9, 10, 20, 20, 7, group=20, y=None),
    conv(9, 10, 20, 20, 3, group=20, dilations=[2, 2], pads=[2] * 4),
    *[
        Case(
            "QMatMul",
            [((rows, depth), U8), scale(0.02), zero(9, U8), np.full((depth, 21), 5, I8), scale(0.004), zero(2, I8),
             scale(0.01), zero(4, U8), np.arange(21, dtype=np.int32)],
        )
        for rows, depth in [(1, 4), (3, 17), (17, 64)]
    ],
    *[binary(op, (2, size), (2, size), x) for op in ("QAdd", "QMul") for size in UGLY for x in (U8, I8)],
    binary("QAdd", (2, 5, 7, 18), (18,), activation="Relu"),
    binary("QMul", (2, 5, 7, 18), (2, 1, 1, 18)),
    binary("QMul", (2, 5, 7, 18), (1,), activation="Clip", activation_parameters=[-1.0, 0.5]),
    *[binary("QAdd", (2, 30, 34, channels), (2, 1, 1, channels)) for channels in (1, 3, 8, 20)],
    binary("QMul", (3,), (26, 31, 3), I8),
    *[Case("QTable", [((size,), U8), np.arange(255, -1, -1).astype(U8)]) for size in UGLY],
    Case("QTable", [((1000,), I8), np.arange(256).astype(U8).view(I8)]),
    *[
        Case("QGlobalAveragePool", [((2, 5, 7, size), x), scale(0.02), zero(8, x), scale(0.03), zero(97, x)], NHWC)
        for size in UGLY for x in (U8, I8)
    ],
    *[
        Case("QGlobalAveragePool", [((1, 300, 500, 3), x), scale(0.02), zero(8, x), scale(0.0003), zero(5, x)], NHWC)
        for x in (U8, I8)
    ],
    *[
        Case("QAveragePool", [((2, 6, 7, size), U8), scale(0.02), zero(8, U8), scale(0.011), zero(5, U8)],
             {"kernel_shape": [3, 3], "pads": PADDED, "count_include_pad": size % 2, **NHWC})
        for size in UGLY
    ],
    *[
        Case("MaxPool", [((2, 7, 8, size), x)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": PADDED, **NHWC})
        for size in UGLY for x in (U8, I8)
    ],
    *[Case("QuantizeLinear", [((size,), np.float32), scale(0.37), zero(z, x)], {}, ONNX)
      for size in (*UGLY, 5000) for z, x in ((77, U8), (-5, I8))],
    *[Case("DequantizeLinear", [((size,), x), scale(0.37), zero(z, x)], {}, ONNX)
      for size in (*UGLY, 5000) for z, x in ((77, U8), (-5, I8))],
    *[Case("Transpose", [((2, 5, size), U8)], {"perm": [0, 2, 1]}, ONNX) for size in UGLY],
    Case("Transpose", [((3, 5, 7, 6), I8)], {"perm": [2, 0, 3, 1]}, ONNX),
    Case("Slice", [((9, 17), U8), np.array([1, 2]), np.array([8, 16]), np.array([0, 1]), np.array([2, 3])], {}, ONNX),
    Case("Concat", [((2, 3, 5), I8), ((2, 4, 5), I8)], {"axis": 1}, ONNX),
    Case("Pad", [((5, 9), U8), np.array([1, 2, 3, 4]), zero(200, U8)], {}, ONNX),
    Case("Pad", [((5, 9, 4), I8), np.array([1, 2, 0, 3, 4, 0]), zero(-3, I8)], {}, ONNX),
    Case("Pad", [((5, 9, 4), U8), np.array([1, 2, 0, 3, 4, 0])], {"mode": "reflect"}, ONNX),
    Case("Resize", [((1, 4, 5, 6), U8), None, np.array([1, 1, 2, 3], np.float32)],
         {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", **NHWC}),
    # Statistics of floats are added up in another order.
    *[Case("QInstanceNormalization",
           [((2, 9, 7, size), x), *q, np.linspace(0.5, 2, size, dtype=np.float32), np.ones(size, np.float32),
            scale(0.03), zero(90, U8)], {"activation": "Relu", **NHWC}, steps=int(x is np.float32))
      for size in UGLY
      for x, q in ((U8, [scale(0.02), zero(8, U8)]), (I8, [scale(0.02), zero(8, I8)]), (np.float32, [None, None]))],
    *[Case("QInstanceNormalization",
           [((1, 5, 7, size), x), *q, np.linspace(0.5, 2, size, dtype=np.float32), np.zeros(size, np.float32),
            scale(0.04), zero(100, U8), ((1, 5, 7, size), r), *s], NHWC, steps=int(x is np.float32))
      for size in (1, 5, 16, 37)
      for x, q in ((I8, [scale(0.02), zero(0, I8)]), (np.float32, [None, None]))
      for r, s in ((U8, [scale(0.01), zero(30, U8)]), (I8, [scale(0.01), zero(5, I8)]))],
    *[Case("QInstanceNormalization",
           [((images, height, 5, channels), x), scale(0.02), zero(7, x), np.linspace(-1, 2, channels, dtype=np.float32),
            np.linspace(-1, 1, channels, dtype=np.float32), scale(0.03), zero(3, I8)], {"activation": act, **NHWC})
      for images, height, channels, x, act in (
          (1, 1, 3, U8, ""), (3, 2, 5, I8, "Relu"), (1, 3, 67, U8, "Sigmoid"), (2, 4, 130, I8, ""),
          (1, 33, 64, U8, "HardSwish"), (1, 36, 20, I8, ""), (2, 30, 150, U8, ""), (2, 7, 65, U8, "Relu"),
          # More pixels than one sum holds.
          (1, 210_001, 1, U8, ""))],
    *[Case("QSoftmax", [(shape, x), scale(0.03), zero(8, x), scale(1 / 256), zero(low, y)], {"axis": axis})
      for shape, axis in (((3, 17), -1), ((2, 5, 7), 1), ((4, 1000), 1), ((9,), 0))
      for x, y, low in ((U8, U8, 0), (I8, I8, -128), (I8, U8, 3))],
    Case("QSoftmax", [((3, 17), U8), scale(9.0), zero(8, U8), scale(0.001), zero(0, U8)]),
    *[transposed(5, 6, c, o, k, s, **more) for c, o, k, s, more in (
        (8, 12, 2, 2, {}), (16, 3, 2, 2, {"y": None}), (12, 20, 3, 2, {"pads": [1] * 4, "output_padding": [1, 1]}),
        (8, 24, 4, 2, {"pads": [1] * 4, "activation": "Relu"}), (7, 9, 3, 1, {"x": I8, "y": I8}),
        (8, 10, 5, 3, {"x": I8}), (8, 3, 9, 4, {"pads": [2, 3, 2, 3]}))],
    zero_point_of_weights(transposed(5, 6, 8, 12, 3, 2), 90),
    conv(6, 7, 8, 20, 3, activation="Sigmoid"),
    conv(6, 7, 20, 20, 3, group=20, activation="HardSwish"),
    *[large_bias(conv(6, 7, 20, 20, k, group=20)) for k in (3, 5, 2)], large_bias(conv(5, 6, 8, 9, 3)),
    largest_weight(conv(5, 6, 8, 9, 3), 127, -128), largest_weight(conv(5, 6, 8, 9, 1), -128, 127),
    largest_weight(conv(5, 6, 8, 9, 1), -128, 0),
    *[zero_point_of_weights(conv(5, 6, c, o, k, x=x, group=g), z) for c, o, k, g, x, z in (
        (8, 9, 3, 1, U8, -100), (3, 40, 3, 1, I8, 90), (20, 20, 3, 20, U8, -128), (8, 8, 1, 2, U8, 127))],
    # Depthwise in integers: borders of all kinds, rows shorter than a tile, the weight that they cannot take.
    *[conv(6, 9, c, c, k, group=c, strides=[s, s], pad_mode=mode, x=x, y=y)
      for c, k, s, mode, x, y in (
          (16, 3, 1, "reflect", U8, U8), (24, 3, 2, "edge", U8, I8), (40, 5, 1, "reflect", U8, U8),
          (32, 5, 2, "constant", I8, I8), (8, 3, 2, "reflect", I8, U8), (64, 3, 1, "reflect", U8, U8),
          (72, 3, 2, "edge", I8, I8), (101, 5, 1, "constant", U8, U8), (64, 5, 2, "constant", I8, U8),
          (130, 3, 1, "constant", U8, I8))],
    *[conv(3, w, 16, 16, 3, group=16) for w in (1, 2, 3, 4, 5)],
    *[largest_weight(conv(5, 6, c, c, 3, group=c), -128, 0) for c in (16, 64)],
    *[conv(h, 9, 24, 24, 3, group=24, strides=[s, t]) for h, s, t in ((1, 1, 1), (2, 1, 1), (4, 2, 2), (7, 2, 1))],
    # Ties, and zero points of both parities.
    *[halves(conv(5, 9, c, o, k, x=x, y=y, group=g, pads=[k // 2] * 4), z)
      for c, o, k, g in ((16, 24, 1, 1), (20, 30, 1, 1), (40, 40, 3, 40), (64, 64, 5, 64), (8, 12, 3, 1))
      for x, y, z in ((U8, U8, 6), (U8, U8, 7), (I8, I8, -4), (I8, U8, 0), (U8, I8, 11))],
    # Products in groups of four quads and what is left of them.
    *[conv(3, 7, c, o, 1, **NO_PADS) for c, o in ((4, 16), (8, 24), (12, 8), (16, 40), (24, 16), (28, 17), (36, 7))],
    conv(1, 2, 16, 16, 1, **NO_PADS), conv(3, 7, 16, 16, 1, y=None, **NO_PADS),
    conv(3, 7, 16, 16, 1, y=None, activation="Sigmoid", **NO_PADS), conv(3, 7, 16, 16, 1, activation="Relu", **NO_PADS),
    # Few channels: taps side by side.
    *[conv(9, 10, 3, 20, k, strides=[s, s], pad_mode=mode, x=x)
      for k, s, mode, x in ((3, 2, "constant", U8), (3, 1, "reflect", I8), (5, 2, "edge", U8), (7, 3, "constant", I8))],
    conv(6, 7, 6, 9, 3, group=3), conv(6, 7, 3, 3, 3, group=3, strides=[2, 2]),
    # The same in pictures too large for that: the taps of a row of the kernel lie side by side in a patch.
    *[conv(97, 95, c, 20, k, strides=[2, 2], pad_mode=mode, x=x, y=y)
      for c, k, mode, x, y in ((3, 7, "constant", U8, U8), (3, 7, "reflect", I8, I8), (5, 5, "edge", U8, None),
                               (2, 9, "constant", I8, U8))],
    conv(97, 64, 3, 37, 7, strides=[2, 2], activation="Sigmoid"),
]  # fmt: skip


def steps_of(case: Case) -> int:
    """Steps by which a result may be off: 0 where arithmetic is on integers but for one rounding."""
    return 1 if case.attributes.get("activation") in ("Sigmoid", "HardSwish") else case.steps


def graph_of(case: Case) -> tuple[Graph, dict[str, np.ndarray]]:
    """A graph of the one node, and random inputs."""
    generator = np.random.default_rng(len(case.label))
    graph, names, feeds = Graph("case"), [], {}
    for index, item in enumerate(case.inputs):
        name = "" if item is None else f"x{index}"
        names.append(name)
        if isinstance(item, np.ndarray):
            graph.constants[name] = item
            graph.types[name] = TensorType(DType.of(item), item.shape)
        elif item is not None:
            shape, dtype = item
            graph.inputs.append(name)
            graph.types[name] = TensorType(DType(np.dtype(dtype).name), shape)
            if dtype is np.float32:
                feeds[name] = 40 * generator.standard_normal(shape, np.float32)
            else:
                limits = np.iinfo(dtype)
                feeds[name] = generator.integers(limits.min, limits.max + 1, shape).astype(dtype)
    graph.nodes = [Node(case.op, names, ["y"], case.attributes, "node", case.domain)]
    graph.outputs = ["y"]
    graph.types = infer_types(graph)[0]
    return graph, feeds


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_kernel_equals_reference_bit_by_bit(case: Case, level: str):
    graph, feeds = graph_of(case)
    expected = run_graph(graph, feeds)["y"]
    for threads in (1, 2):
        with Session(graph, threads=threads, kernels=kernels_for(level)) as session:
            plan = session.plan({name: array.shape for name, array in feeds.items()})
            assert [step.reason for step in plan.host_steps()] == []
            for _ in range(2):
                y = session.run(feeds)["y"]
        assert y.dtype == expected.dtype
        assert y.shape == expected.shape
        if expected.dtype == np.float32:
            np.testing.assert_allclose(y, expected, rtol=2e-7)
        else:
            assert np.abs(y.astype(int) - expected.astype(int)).max() <= steps_of(case)


@pytest.mark.parametrize("level", LEVELS)
def test_quantizing_rounds_half_to_even_and_saturates_what_is_no_number(level: str):
    x = np.array([0.5, 1.5, 2.5, -0.5, 1e30, -1e30, np.inf, -np.inf, np.nan, 254.5, 300], np.float32)
    graph, _ = graph_of(Case("QuantizeLinear", [(x.shape, np.float32), scale(1.0), zero(0, U8)], {}, ONNX))
    with Session(graph, threads=1, kernels=kernels_for(level)) as session:
        y = session.run({"x0": x})["y"]
    np.testing.assert_array_equal(y, [0, 2, 2, 0, 255, 0, 255, 0, 0, 254, 255])
    np.testing.assert_array_equal(y, run_graph(graph, {"x0": x})["y"])


@pytest.mark.parametrize("level", [level for level in LEVELS if level in ("vnni", "avx2")])
def test_pixels_of_three_channels_are_packed(level: str):
    graph, feeds = graph_of(conv(97, 95, 3, 20, 7, strides=[2, 2]))
    with Session(graph, threads=1, kernels=kernels_for(level)) as session:
        kernels = [step.kernel for step in session.profile(feeds)]
    assert len(kernels) == 1
    assert "packed_conv" in kernels[0]


def test_reasons_are_given_where_there_is_no_kernel():
    case = conv(5, 5, 8, 8, 3)
    case.inputs[3] = case.inputs[3].astype(np.int16)
    case.inputs[5] = zero(0, np.int16)
    graph, feeds = graph_of(case)
    with Session(graph, threads=1) as session:
        (step,) = session.plan({name: array.shape for name, array in feeds.items()}).host_steps()
        assert step.reason == "uint8 by int16; there are only 8-bit kernels"
        np.testing.assert_array_equal(session.run(feeds)["y"], run_graph(graph, feeds)["y"])
