"""Passes on quantized models: integers in place of numbers, tables, merged products, short names."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import DType, Node
from edgeinfer.ops import run_graph
from edgeinfer.passes import (
    QUANTIZED_PASSES,
    MergeSiblingProducts,
    ReplaceDynamicQuantization,
    ShortenNames,
    run_passes,
)
from edgeinfer.passes.fuse_quantized_table import FuseQuantizedConcat, FuseQuantizedFunction, FuseRequantization
from edgeinfer.passes.move_quantization import MoveIntegers, RemoveQuantizePair


def scale_of(build, scale: float, zero_point: int, dtype=np.uint8) -> tuple[str, str]:
    return build.constant(scale), build.constant(zero_point, dtype)


def numbers_of(build, name: str, scale: float, zero_point: int) -> str:
    """A value through integers: QuantizeLinear, DequantizeLinear."""
    parameters = scale_of(build, scale, zero_point)
    return build.node("DequantizeLinear", build.node("QuantizeLinear", name, *parameters), *parameters)


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Relu"])
def test_functions_become_tables(builder, apply, operators, op):
    build = builder(x=(2, 5))
    y = numbers_of(build, build.node(op, numbers_of(build, "x", 0.05, 128)), 0.01, 100)
    result = apply(FuseQuantizedFunction(), build.graph(y))
    assert operators(result.graph) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "edgeinfer.QTable": 1}


def test_integers_that_are_outputs_keep_their_scale(builder, apply):
    build = builder(x=(2, 5))
    y = build.node("QuantizeLinear", build.node("Relu", numbers_of(build, "x", 0.05, 128)), *scale_of(build, 0.01, 100))
    result = apply(FuseQuantizedFunction(), build.graph(y))
    assert result.count == 0
    assert "would not tell their scale" in result.refusals[0].reason


def test_clip_bounds_are_part_of_the_table(builder, apply, operators):
    build = builder(x=(2, 5))
    clipped = build.node("Clip", numbers_of(build, "x", 0.05, 128), build.constant(-1.0), build.constant(2.0))
    result = apply(FuseQuantizedFunction(), build.graph(numbers_of(build, clipped, 0.02, 60)))
    assert operators(result.graph)["edgeinfer.QTable"] == 1


def test_a_function_read_as_numbers_stays(builder, apply):
    build = builder(x=(2, 5))
    result = apply(FuseQuantizedFunction(), build.graph(build.node("Sigmoid", numbers_of(build, "x", 0.05, 128))))
    assert result.count == 0
    assert [refusal.reason for refusal in result.refusals] == ["the result is not quantized to 8 bits with one scale"]


def test_a_change_of_scale_becomes_a_table(builder, apply, operators):
    build = builder(x=(2, 5))
    parameters = scale_of(build, 0.02, -3, np.int8)
    y = build.node(
        "DequantizeLinear", build.node("QuantizeLinear", numbers_of(build, "x", 0.05, 128), *parameters), *parameters
    )
    result = apply(FuseRequantization(), build.graph(y))
    assert operators(result.graph)["edgeinfer.QTable"] == 1


def test_integers_turned_to_numbers_and_back_stay(builder, apply, operators):
    build = builder(x=(2, 5))
    x = numbers_of(build, "x", 0.05, 128)
    again = build.node("QuantizeLinear", x, *scale_of(build, 0.05, 128))
    y = build.node("DequantizeLinear", again, *scale_of(build, 0.05, 128))
    result = apply(RemoveQuantizePair(), build.graph(y))
    assert operators(result.graph)["QuantizeLinear"] == 1


def test_concat_brings_parts_to_one_scale(builder, apply, operators):
    build = builder(x=(2, 5), z=(2, 3))
    parts = [numbers_of(build, "x", 0.05, 128), numbers_of(build, "z", 0.02, 100)]
    y = build.node("QuantizeLinear", build.node("Concat", *parts, axis=1), *scale_of(build, 0.05, 128))
    result = apply(FuseQuantizedConcat(), build.graph(y))
    assert operators(result.graph)["edgeinfer.QTable"] == 1
    assert operators(result.graph)["Concat"] == 1


@pytest.mark.parametrize("equal", [True, False])
def test_pools_choose_among_integers_where_scales_are_equal(builder, apply, equal):
    build = builder(x=(1, 2, 4, 4))
    pooled = build.node("MaxPool", numbers_of(build, "x", 0.05, 128), kernel_shape=[2, 2])
    y = build.node("QuantizeLinear", pooled, *scale_of(build, 0.05 if equal else 0.06, 128))
    result = apply(MoveIntegers(), build.graph(y))
    assert result.count == int(equal)
    if not equal:
        assert [refusal.reason for refusal in result.refusals] == ["the scales before and behind differ"]


@pytest.mark.parametrize("residual", [False, True])
def test_normalisation_takes_a_residual_of_integers(builder, operators, same_outputs, residual):
    build = builder(x=(1, 3, 5, 5), r=(1, 3, 5, 5))
    inputs = ["x", build.weights(3), build.weights(3)]
    inputs += [numbers_of(build, "r", 0.05, 128)] if residual else []
    norm = build.node("InstanceNormalization", *inputs, domain="edgeinfer")
    parameters = scale_of(build, 0.05, 120)
    y = build.node("DequantizeLinear", build.node("QuantizeLinear", norm, *parameters), *parameters)
    before = build.graph(y)
    after, _ = run_passes(before, QUANTIZED_PASSES, check=True)
    same_outputs(before, after, 1e-5)
    assert operators(after)["edgeinfer.QInstanceNormalization"] == 1
    (node,) = [node for node in after.nodes if node.op == "QInstanceNormalization"]
    assert len(node.inputs) == (10 if residual else 7)


def test_products_of_one_row_become_one(builder, apply, operators):
    build = builder(w=(1, 4))
    flats = [
        build.node("Reshape", build.node("MatMul", "w", build.weights(4, size)), build.axes(size))
        for size in (3, 5, 2, 7)
    ]
    outputs = [build.node("Relu", flat) for flat in flats]
    result = apply(MergeSiblingProducts(), build.graph(*outputs))
    assert operators(result.graph) == {"MatMul": 1, "Reshape": 1, "Split": 1, "Relu": 4}


def test_few_products_and_products_of_many_rows_stay(builder, apply):
    build = builder(w=(1, 4), m=(2, 4))
    few = [build.node("Reshape", build.node("MatMul", "w", build.weights(4, 3)), build.axes(3)) for _ in range(3)]
    many = [build.node("Reshape", build.node("MatMul", "m", build.weights(4, 3)), build.axes(6)) for _ in range(5)]
    outputs = [build.node("Relu", value) for value in [*few, *many]]
    assert apply(MergeSiblingProducts(), build.graph(*outputs)).count == 0


def test_short_names_leave_inputs_outputs_and_nodes(builder, apply):
    build = builder(x=(2, 4), v0=(2, 4))
    y = build.node("Add", build.node("MatMul", build.node("Relu", "x"), build.weights(4, 4)), "v0")
    before = build.graph(y)
    result = apply(ShortenNames(), before)
    assert [node.name for node in result.graph.nodes] == [node.name for node in before.nodes]
    inner = {name for node in result.graph.nodes for name in [*node.inputs, *node.outputs]} - {"x", "v0", y}
    assert all(name[0] == "v" and name[1:].isdigit() for name in inner)
    assert len(inner) == 3
    assert result.graph.types[next(iter(result.graph.constants))].dtype is DType.FLOAT32


def dynamic_product(build, x: str, op: str, weight: str, shift: str = "", **attributes) -> str:
    """``Cast(op(DynamicQuantizeLinear(x), weight)) * scale``, as ONNX Runtime's quantizer writes it."""
    integers, scale, zero_point = (f"{x}.{part}" for part in ("integers", "scale", "zero_point"))
    if not any(node.op == "DynamicQuantizeLinear" and node.inputs == [x] for node in build.result.nodes):
        build.result.nodes.append(
            Node("DynamicQuantizeLinear", [x], [integers, scale, zero_point], {}, f"{x}.quantize")
        )  # fmt: skip
    inputs = [integers, weight, zero_point, shift] if shift else [integers, weight, zero_point]
    return build.node("Mul", build.node("Cast", build.node(op, *inputs, **attributes), to=1), scale)


def test_dynamic_quantization_becomes_whole_numbers_in_float(builder, apply, operators):
    build = builder(x=(2, 6, 7, 7))
    random = np.random.default_rng(0)
    kernel = build.constant(random.integers(-127, 128, (4, 6, 3, 3)), np.int8)
    other = build.constant(random.integers(0, 256, (3, 6, 1, 1)), np.uint8)
    outputs = [
        dynamic_product(build, "x", "ConvInteger", kernel, pads=[1] * 4),
        dynamic_product(build, "x", "ConvInteger", other, build.constant(117, np.uint8)),
    ]
    result = apply(ReplaceDynamicQuantization(), build.graph(*outputs))
    assert result.count == 1
    assert not {"DynamicQuantizeLinear", "ConvInteger", "Cast"} & operators(result.graph).keys()


def test_zeros_quantized_dynamically_stay_zeros(builder):
    build = builder(x=(2, 6))
    weight = build.constant(np.arange(12).reshape(6, 2), np.int8)
    graph = ReplaceDynamicQuantization().run(build.graph(dynamic_product(build, "x", "MatMulInteger", weight))).graph
    (found,) = run_graph(graph, {"x": np.zeros((2, 6), np.float32)}).values()
    assert (found == 0).all()


def test_dynamic_integers_that_something_else_reads_stay(builder, apply):
    build = builder(x=(2, 6))
    weight = build.constant(np.ones((6, 2)), np.int8)
    y = dynamic_product(build, "x", "MatMulInteger", weight)
    z = build.node("Cast", "x.integers", to=1)
    result = apply(ReplaceDynamicQuantization(), build.graph(y, z))
    assert result.count == 0
    assert "reads its integers" in result.refusals[0].reason
