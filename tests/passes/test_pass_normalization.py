"""FuseInstanceNormalization, FuseLayerNormalization, FuseGroupNormalization, FuseWeightedSum, ReplaceReduceMean."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeinfer.graph import DType
from edgeinfer.passes import (
    FuseGroupNormalization,
    FuseInstanceNormalization,
    FuseLayerNormalization,
    FuseWeightedSum,
    RemoveDeadNodes,
    ReplaceReduceMean,
)

SPATIAL = (2, 3)


def statistics(b, axes=SPATIAL, square="pow", keepdims=1, dtype=np.float32):
    """Mean, deviation and variance + epsilon of x."""
    mean = b.node("ReduceMean", "x", b.axes(*axes), keepdims=keepdims)
    centred = b.node("Sub", "x", mean)
    squared = b.node("Pow", centred, b.constant(2.0, dtype)) if square == "pow" else b.node("Mul", centred, centred)
    variance = b.node("ReduceMean", squared, b.axes(*axes), keepdims=keepdims)
    return mean, centred, b.node("Add", *([variance, b.constant(1e-5, dtype)][:: 1 if square == "pow" else -1]))


def commuted(b, op, left, right, swap):
    return b.node(op, right, left) if swap else b.node(op, left, right)


def divided(b, centred, variance, form, swap=False):
    """The deviation by the standard deviation, in one of the forms of exporters."""
    if form == "rsqrt":
        return commuted(b, "Mul", centred, b.node("Pow", variance, b.constant(-0.5)), swap)
    root = b.node("Pow", variance, b.constant(0.5)) if form == "pow" else b.node("Sqrt", variance)
    if form == "inverse":
        return commuted(b, "Mul", centred, b.node("Div", b.constant(1.0), root), swap)
    if form == "reciprocal":
        return commuted(b, "Mul", centred, b.node("Reciprocal", root), swap)
    return b.node("Div", centred, root)


@pytest.mark.parametrize(
    ("form", "square", "swap"),
    list(itertools.product(["div", "inverse", "reciprocal", "rsqrt", "pow"], ["pow", "mul"], [0, 1])),
)
def test_spelled_instance_normalization_is_fused(builder, apply, operators, form, square, swap):
    b = builder(x=(2, 3, "h", "w"))
    _, centred, variance = statistics(b, square=square)
    value = divided(b, centred, variance, form, swap)
    value = commuted(b, "Mul", value, b.weights(3, 1, 1), swap)
    value = commuted(b, "Add", value, b.weights(1, 3, 1, 1), swap)
    result = apply(FuseInstanceNormalization(), b.graph(value))
    assert operators(result.graph) == {"edgeinfer.InstanceNormalization": 1}
    assert result.count == 1


def test_instance_normalization_without_scale_and_bias_gets_ones_and_zeros(builder, apply, operators):
    b = builder(x=(1, 4, 5, 6))
    _, centred, variance = statistics(b)
    result = apply(FuseInstanceNormalization(), b.graph(divided(b, centred, variance, "div")))
    assert operators(result.graph) == {"edgeinfer.InstanceNormalization": 1}


def test_scale_and_bias_may_be_computed(builder, apply, operators):
    b = builder(x=(1, 4, 5, 6), s=(1, 4, 1, 1), t=(4, 1, 1))
    _, centred, variance = statistics(b)
    value = b.node("Add", b.node("Mul", divided(b, centred, variance, "div"), "s"), "t")
    result = apply(FuseInstanceNormalization(), b.graph(value))
    assert operators(result.graph) == {"Reshape": 2, "edgeinfer.InstanceNormalization": 1}


def test_a_scale_in_the_inverse_deviation_is_fused(builder, apply, operators):
    b = builder(x=(1, 4, 5, 6))
    _, centred, variance = statistics(b)
    factor = b.node("Mul", b.node("Reciprocal", b.node("Sqrt", variance)), b.weights(1, 4, 1, 1))
    value = b.node("Add", b.node("Mul", centred, factor), b.weights(4, 1, 1))
    result = apply(FuseInstanceNormalization(), b.graph(value))
    assert operators(result.graph) == {"edgeinfer.InstanceNormalization": 1}


@pytest.mark.parametrize("has_scale", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_the_form_of_tensorflow_is_fused(builder, apply, operators, has_scale, has_bias):
    b = builder(x=(1, 4, 5, 6))
    mean, _, variance = statistics(b)
    factor = b.node("Reciprocal", b.node("Sqrt", variance))
    factor = b.node("Mul", factor, b.weights(1, 4, 1, 1)) if has_scale else factor
    product, shift = b.node("Mul", "x", factor), b.node("Mul", mean, factor)
    if has_bias:
        value = b.node("Add", product, b.node("Sub", b.weights(1, 4, 1, 1), shift))
    else:
        value = b.node("Sub", product, shift)
    result = apply(FuseInstanceNormalization(), b.graph(value))
    assert operators(result.graph) == {"edgeinfer.InstanceNormalization": 1}


def test_parameters_take_the_dtype_of_the_input(builder, apply):
    b = builder(DType.FLOAT16, x=(1, 4, 5, 6))
    _, centred, variance = statistics(b, dtype=np.float16)
    graph = b.graph(b.node("Div", centred, b.node("Sqrt", variance)))
    fused = apply(FuseInstanceNormalization(), graph, tolerance=2e-3).graph.nodes[-1]
    constants = apply(FuseInstanceNormalization(), graph, tolerance=2e-3).graph.constants
    assert [constants[name].dtype for name in fused.inputs[1:]] == [np.float16, np.float16]


def test_a_factor_for_each_pixel_stays(builder, apply, operators):
    b = builder(x=(1, 4, 5, 6))
    _, centred, variance = statistics(b)
    value = b.node("Mul", divided(b, centred, variance, "div"), b.weights(1, 1, 5, 6))
    result = apply(FuseInstanceNormalization(), b.graph(value))
    assert operators(result.graph) == {"Mul": 1, "edgeinfer.InstanceNormalization": 1}


def refusals(result):
    return [refusal.reason for refusal in result.refusals]


def test_statistics_over_other_axes_are_refused(builder, apply):
    b = builder(x=(2, 3, 5, 6))
    _, centred, variance = statistics(b, axes=(1, 2, 3))
    result = apply(FuseInstanceNormalization(), b.graph(divided(b, centred, variance, "div")))
    assert refusals(result) == ["the statistics are over the axes [1, 2, 3], not over all spatial ones"]


def test_a_value_read_elsewhere_is_refused(builder, apply):
    b = builder(x=(2, 3, 5, 6))
    _, centred, variance = statistics(b)
    result = apply(FuseInstanceNormalization(), b.graph(divided(b, centred, variance, "div"), centred))
    assert refusals(result) == ["an intermediate value is read elsewhere"]


def test_unknown_channels_are_refused(builder, apply):
    b = builder(x=(1, "c", 5, 6))
    _, centred, variance = statistics(b)
    result = apply(FuseInstanceNormalization(), b.graph(divided(b, centred, variance, "div")))
    assert refusals(result) == ["the number of channels is not known"]


def test_a_scale_for_each_image_in_the_inverse_deviation_is_refused(builder, apply):
    b = builder(x=(2, 3, 5, 6), s=(2, 3, 1, 1))
    _, centred, variance = statistics(b)
    factor = b.node("Mul", b.node("Reciprocal", b.node("Sqrt", variance)), "s")
    result = apply(FuseInstanceNormalization(), b.graph(b.node("Mul", centred, factor)))
    assert refusals(result) == ["the operand 's' does not hold one value a channel"]


def test_another_divisor_is_refused(builder, apply):
    b = builder(x=(2, 3, 5, 6))
    _, _, variance = statistics(b)
    result = apply(FuseInstanceNormalization(), b.graph(b.node("Div", "x", b.node("Sqrt", variance))))
    assert refusals(result) == ["the deviation is not divided by the standard deviation"]


@pytest.mark.parametrize("form", ["div", "inverse", "reciprocal", "rsqrt"])
def test_spelled_layer_normalization_is_fused(builder, apply, operators, form):
    b = builder(x=("n", "t", 8))
    _, centred, variance = statistics(b, axes=(-1,))
    value = b.node("Mul", divided(b, centred, variance, form), b.weights(8))
    result = apply(FuseLayerNormalization(), b.graph(b.node("Add", b.weights(8), value)))
    assert operators(result.graph) == {"LayerNormalization": 1}


def test_layer_normalization_over_several_axes_without_parameters_is_fused(builder, apply, operators):
    b = builder(x=(2, 3, 5, 6))
    _, centred, variance = statistics(b, axes=(1, 2, 3))
    result = apply(FuseLayerNormalization(), b.graph(divided(b, centred, variance, "div")))
    assert operators(result.graph) == {"LayerNormalization": 1}


def test_layer_normalization_of_unknown_sizes_is_refused(builder, apply):
    b = builder(x=(2, 3, "d"))
    _, centred, variance = statistics(b, axes=(2,))
    result = apply(FuseLayerNormalization(), b.graph(divided(b, centred, variance, "div")))
    assert refusals(result) == ["the sizes ['d'] of the normalised axes are not known"]


def test_layer_normalization_over_leading_axes_is_refused(builder, apply):
    b = builder(x=(2, 3, 5))
    _, centred, variance = statistics(b, axes=(0, 1))
    result = apply(FuseLayerNormalization(), b.graph(divided(b, centred, variance, "div")))
    assert refusals(result) == ["the statistics are over the axes [0, 1], not over the last ones"]


def group_norm(b, back):
    split = b.node("Reshape", "x", b.axes(0, 2, -1))
    norm = b.node("InstanceNormalization", split, b.constant([1.0, 2.0]), b.constant([0.5, 0.0]), epsilon=1e-4)
    return b.node("Reshape", norm, back)


@pytest.mark.parametrize("has_affine", [False, True])
def test_group_normalization_is_fused(builder, apply, operators, has_affine):
    b = builder(x=("n", 6, "h", "w"))
    value = group_norm(b, b.node("Shape", "x"))
    if has_affine:
        value = b.node("Add", b.node("Mul", value, b.weights(6, 1, 1)), b.weights(1, 6, 1, 1))
    result = apply(FuseGroupNormalization(), b.graph(value))
    fused = apply(RemoveDeadNodes(), result.graph).graph
    assert operators(fused) == {"GroupNormalization": 1}
    assert fused.nodes[0].attributes == {"num_groups": 2, "epsilon": 1e-4}


def test_group_normalization_with_another_final_shape_is_refused(builder, apply):
    b = builder(x=(1, 6, 4, 4))
    result = apply(FuseGroupNormalization(), b.graph(group_norm(b, b.axes(1, 6, 2, 8))))
    assert refusals(result) == ["the Reshapes do not split and join channels"]


def test_a_weighted_sum_of_rows_becomes_a_matrix_product(builder, apply, operators):
    b = builder(w=(5,))
    product = b.node("Mul", b.weights(5, 8), b.node("Unsqueeze", "w", b.axes(1)))
    result = apply(FuseWeightedSum(), b.graph(b.node("ReduceSum", product, b.axes(0), keepdims=0)))
    assert operators(result.graph) == {"MatMul": 1, "Reshape": 2, "Unsqueeze": 1}


def test_a_weighted_sum_over_another_axis_stays(builder, apply):
    b = builder(w=(5,))
    product = b.node("Mul", b.node("Unsqueeze", "w", b.axes(1)), b.weights(5, 8))
    assert apply(FuseWeightedSum(), b.graph(b.node("ReduceSum", product, b.axes(1), keepdims=0))).count == 0


@pytest.mark.parametrize(
    ("keepdims", "expected"), [(1, {"GlobalAveragePool": 1}), (0, {"GlobalAveragePool": 1, "Squeeze": 1})]
)
def test_a_mean_over_pictures_is_global_average_pooling(builder, apply, operators, keepdims, expected):
    b = builder(x=("n", 3, "h", "w"))
    result = apply(ReplaceReduceMean(), b.graph(b.node("ReduceMean", "x", b.axes(-1, -2), keepdims=keepdims)))
    assert operators(result.graph) == expected


def test_a_mean_over_channels_stays(builder, apply):
    b = builder(x=(1, 3, 4, 5))
    assert apply(ReplaceReduceMean(), b.graph(b.node("ReduceMean", "x", b.axes(1)))).count == 0


@pytest.mark.parametrize("keeps", ["split", "norm"])
def test_group_normalization_with_a_part_that_is_read_elsewhere_stays(builder, apply, keeps):
    b = builder(x=("n", 6, "h", "w"))
    value = group_norm(b, b.node("Shape", "x"))
    split, norm = (b.result.nodes[index].outputs[0] for index in (1, 2))
    result = apply(FuseGroupNormalization(), b.graph(value, split if keeps == "split" else norm))
    assert result.count == 0
    assert refusals(result) == (["the reshaped value is read elsewhere"] if keeps == "split" else [])


def test_group_normalization_with_computed_parameters_is_refused(builder, apply):
    b = builder(x=(1, 6, 4, 4), s=(2,))
    split = b.node("Reshape", "x", b.axes(0, 2, -1))
    norm = b.node("InstanceNormalization", split, "s", b.constant([0.5, 0.0]))
    result = apply(FuseGroupNormalization(), b.graph(b.node("Reshape", norm, b.node("Shape", "x"))))
    assert refusals(result) == ["scale and bias of the groups are computed at run time"]


def test_a_power_with_an_exponent_that_adds_axes_is_no_square(builder, apply):
    b = builder(x=(2, 3, 5))
    mean = b.node("ReduceMean", "x", b.axes(2))
    centred = b.node("Sub", "x", mean)
    squared = b.node("Pow", centred, b.constant([[[[2.0]]]]))
    variance = b.node("Add", b.node("ReduceMean", squared, b.axes(3)), b.constant(1e-5))
    graph = b.graph(b.node("Div", centred, b.node("Sqrt", variance)))
    assert apply(FuseInstanceNormalization(), graph).count == 0
    assert apply(FuseLayerNormalization(), graph).count == 0


def test_statistics_over_different_axes_are_refused(builder, apply):
    b = builder(x=(2, 3, 5, 6))
    centred = b.node("Sub", "x", b.node("ReduceMean", "x", b.axes(2)))
    variance = b.node("ReduceMean", b.node("Mul", centred, centred), b.axes(3))
    value = b.node("Div", centred, b.node("Sqrt", b.node("Add", variance, b.constant(1e-5))))
    result = apply(FuseInstanceNormalization(), b.graph(value))
    assert refusals(result) == ["mean and variance are not over the same known axes"]
