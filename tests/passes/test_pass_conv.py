"""FusePadConv, FuseUpsampleConv, FuseConvAffine, FuseAffineConv, FuseResidual, FuseActivation."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import FUSED, DType
from edgeinfer.passes import (
    FuseActivation,
    FuseAffineConv,
    FuseConvAffine,
    FusePadConv,
    FuseResidual,
    FuseUpsampleConv,
)

PICTURE = (1, 4, "h", "w")
BORDER = (0, 0, 1, 2, 0, 0, 2, 1)


def conv(b, x, *more, channels=4, size=3, **attributes):
    return b.node("Conv", x, b.weights(channels, 4, size, size), *more, **attributes)


def pad(b, x="x", widths=BORDER, *more, **attributes):
    return b.node("Pad", x, b.axes(*widths), *more, **attributes)


def resize(b, *scales, mode="nearest", coordinates="asymmetric", nearest="floor"):
    return b.node(
        "Resize",
        "x",
        "",
        b.constant(scales),
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode=nearest,
    )


def check_refused(result, reason):
    assert result.count == 0
    assert [refusal.reason for refusal in result.refusals] == [reason]


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padding_goes_into_the_convolution(builder, apply, operators, mode):
    b = builder(x=PICTURE)
    result = apply(FusePadConv(), b.graph(conv(b, pad(b, mode=mode), b.weights(4), strides=[2, 1])))
    assert operators(result.graph) == {"edgeinfer.Conv": 1}
    attributes = result.graph.nodes[0].attributes
    assert (attributes["pads"], attributes["pad_mode"]) == ([1, 2, 2, 1], mode)


def test_zeros_add_up_with_the_padding_of_the_convolution(builder, apply):
    b = builder(x=PICTURE)
    result = apply(FusePadConv(), b.graph(conv(b, pad(b), pads=[1, 1, 0, 0])))
    assert result.graph.nodes[0].attributes["pads"] == [2, 3, 2, 1]


def test_padding_of_chosen_axes_goes_into_the_convolution(builder, apply):
    b = builder(x=PICTURE)
    padded = b.node("Pad", "x", b.axes(1, 2, 3, 4), "", b.axes(-1, 2), mode="edge")
    result = apply(FusePadConv(), b.graph(conv(b, padded)))
    assert result.graph.nodes[0].attributes["pads"] == [2, 1, 4, 3]


def test_automatic_padding_is_made_explicit(builder, apply):
    b = builder(x=(1, 4, 8, 9))
    result = apply(FusePadConv(), b.graph(conv(b, pad(b), auto_pad="SAME_UPPER", strides=[2, 2])))
    assert result.count == 1
    assert "auto_pad" not in result.graph.nodes[0].attributes


def padded_and_upsampled(b):
    value = conv(b, pad(b), upsample=[2, 2])
    b.result.nodes[-1].domain = FUSED
    return [value]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda b: [conv(b, p := pad(b)), p], "the padded value is read elsewhere"),
        (lambda b: [conv(b, p := pad(b)), b.node("Relu", p)], "the padded value is read elsewhere"),
        (
            lambda b: [conv(b, pad(b, mode="reflect"), pads=[1, 1, 1, 1])],
            "the convolution pads with zeros after another kind of padding",
        ),
        (lambda b: [conv(b, pad(b, mode="wrap"))], "convolutions do not wrap around"),
        (lambda b: [conv(b, pad(b, "x", BORDER, b.constant(1.5)))], "the padding is not zero"),
        (lambda b: [conv(b, pad(b, "x", (1, 0, 1, 1, 0, 0, 1, 1)))], "batch or channels are padded"),
        (lambda b: [conv(b, pad(b, "x", (0, 0, -1, 0, 0, 0, 0, 0)))], "negative padding cuts the picture"),
        (
            lambda b: [conv(b, b.node("Pad", "x", b.node("Abs", b.axes(*BORDER))))],
            "the padding is computed at run time",
        ),
        (padded_and_upsampled, "the convolution upsamples after the padding"),
    ],
)
def test_padding_stays_and_the_reason_is_told(builder, apply, make, reason):
    b = builder(x=PICTURE)
    check_refused(apply(FusePadConv(), b.graph(*make(b))), reason)


def test_padding_before_a_convolution_of_one_dimension_stays(builder, apply):
    b = builder(x=(1, 4, 9))
    value = b.node("Conv", pad(b, "x", (0, 0, 1, 0, 0, 1)), b.weights(2, 4, 3))
    check_refused(apply(FusePadConv(), b.graph(value)), "only two-dimensional convolutions are fused")


@pytest.mark.parametrize(
    ("coordinates", "nearest"),
    [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")],
)
def test_repetition_goes_into_the_convolution(builder, apply, operators, coordinates, nearest):
    b = builder(x=PICTURE)
    value = resize(b, 1, 1, 2, 3, coordinates=coordinates, nearest=nearest)
    result = apply(FuseUpsampleConv(), b.graph(conv(b, value, pads=[1, 1, 1, 1])))
    assert operators(result.graph) == {"edgeinfer.Conv": 1}
    assert result.graph.nodes[0].attributes["upsample"] == [2, 3]


def test_padding_by_reflection_after_repetition_goes_into_the_convolution(builder, apply, operators):
    b = builder(x=PICTURE)
    graph = b.graph(conv(b, pad(b, resize(b, 1, 1, 2, 2), mode="reflect")))
    result = apply(FuseUpsampleConv(), apply(FusePadConv(), graph).graph)
    assert operators(result.graph) == {"edgeinfer.Conv": 1}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda b: [conv(b, r := resize(b, 1, 1, 2, 2)), r], "the upsampled value is read elsewhere"),
        (lambda b: [conv(b, r := resize(b, 1, 1, 2, 2)), b.node("Neg", r)], "the upsampled value is read elsewhere"),
        (lambda b: [conv(b, resize(b, 1, 1, 2, 2, mode="linear"))], "only nearest upsampling is folded in"),
        (
            lambda b: [conv(b, resize(b, 1, 1, 1.5, 2))],
            "the scales [1.0, 1.0, 1.5, 2.0] are not whole factors of rows and columns",
        ),
        (
            lambda b: [conv(b, resize(b, 1, 1, 2, 2, nearest="ceil"))],
            "asymmetric with ceil does not repeat pixels",
        ),
        (
            lambda b: [conv(b, b.node("Resize", "x", "", "", b.axes(1, 4, 14, 14), mode="nearest"))],
            "the scales are computed at run time",
        ),
    ],
)
def test_resizing_stays_and_the_reason_is_told(builder, apply, make, reason):
    b = builder(x=PICTURE)
    check_refused(apply(FuseUpsampleConv(), b.graph(*make(b))), reason)


@pytest.mark.parametrize(
    "make",
    [
        lambda b, y: b.node("Mul", y, b.weights(4, 1, 1)),
        lambda b, y: b.node("Add", b.weights(1, 4, 1, 1), y),
        lambda b, y: b.node("Sub", y, b.weights(4, 1, 1)),
        lambda b, y: b.node("Sub", b.weights(4, 1, 1), y),
        lambda b, y: b.node("Div", y, b.constant(3.0)),
    ],
)
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("has_bias", [False, True])
def test_arithmetic_goes_into_the_weights(builder, apply, operators, make, op, has_bias):
    b = builder(x=PICTURE)
    weight = b.weights(4, 2, 3, 3)
    value = b.node(op, "x", weight, *([b.weights(4)] if has_bias else []), group=2)
    assert operators(apply(FuseConvAffine(), b.graph(make(b, value))).graph) == {op: 1}


def computed(b):
    return b.node("Abs", b.weights(4, 4, 3, 3))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda b: [b.node("Mul", y := conv(b, "x"), b.constant(2.0)), y],
            "the result of the convolution is read elsewhere",
        ),
        (
            lambda b: [b.node("Mul", y := conv(b, "x"), b.constant(2.0)), b.node("Relu", y)],
            "the result of the convolution is read elsewhere",
        ),
        (lambda b: [b.node("Add", conv(b, "x"), b.weights(3))], "the constant does not hold one value a channel"),
        (lambda b: [b.node("Div", b.constant(2.0), conv(b, "x"))], "the convolution's result is the divisor"),
        (
            lambda b: [b.node("Mul", b.node("Conv", "x", computed(b)), b.constant(2.0))],
            "the weights are computed at run time",
        ),
        (
            lambda b: [b.node("Add", conv(b, "x", b.node("Abs", b.weights(4))), b.constant(2.0))],
            "the bias is computed at run time",
        ),
    ],
)
def test_arithmetic_after_a_convolution_stays(builder, apply, make, reason):
    b = builder(x=(1, 4, 7, 5))
    check_refused(apply(FuseConvAffine(), b.graph(*make(b))), reason)


def test_a_division_by_zero_stays(builder):
    b = builder(x=(1, 4, 7, 5))
    check_refused(
        FuseConvAffine().run(b.graph(b.node("Div", conv(b, "x"), b.constant(0.0)))), "the constant divides by zero"
    )


def test_weights_that_would_overflow_stay(builder):
    b = builder(x=(1, 4, 7, 5))
    value = b.node("Conv", "x", b.constant(np.full((4, 4, 1, 1), 1e20)))
    result = FuseConvAffine().run(b.graph(b.node("Mul", value, b.constant(1e30))))
    check_refused(result, "the scaled weights do not fit into float32")


@pytest.mark.parametrize("op", ["Mul", "Add"])
@pytest.mark.parametrize("group", [1, 2])
def test_arithmetic_before_a_convolution_goes_into_it(builder, apply, operators, op, group):
    b = builder(x=PICTURE)
    value = b.node(op, b.weights(4, 1, 1), "x")
    value = b.node("Conv", value, b.weights(6, 4 // group, 3, 3), b.weights(6), group=group)
    assert operators(apply(FuseAffineConv(), b.graph(value)).graph) == {"Conv": 1}


def test_a_factor_goes_through_zero_padding_and_leaves_a_summand(builder, apply, operators):
    b = builder(x=PICTURE)
    value = b.node("Add", b.node("Mul", "x", b.weights(4, 1, 1)), b.weights(4, 1, 1))
    result = apply(FuseAffineConv(), b.graph(conv(b, value, pads=[1, 1, 1, 1])))
    assert operators(result.graph) == {"Add": 1, "Conv": 1}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda b: [conv(b, y := b.node("Mul", "x", b.constant(2.0))), y],
            "the value before the convolution is read elsewhere",
        ),
        (
            lambda b: [conv(b, y := b.node("Add", "x", b.constant(2.0))), b.node("Neg", y)],
            "the value before the convolution is read elsewhere",
        ),
        (lambda b: [conv(b, b.node("Mul", "x", b.weights(5)))], "the constant does not hold one value a channel"),
        (
            lambda b: [conv(b, b.node("Add", "x", b.constant(2.0)), pads=[1, 1, 1, 1])],
            "the convolution pads with zeros after the addition",
        ),
        (
            lambda b: [conv(b, b.node("Add", b.node("Mul", "x", b.constant(0.0)), b.constant(2.0)), pads=[1, 1, 1, 1])],
            "the factor before the addition cannot be moved behind it",
        ),
        (
            lambda b: [b.node("Conv", b.node("Mul", "x", b.constant(2.0)), computed(b))],
            "the weights are computed at run time",
        ),
        (
            lambda b: [conv(b, b.node("Add", "x", b.constant(2.0)), b.node("Abs", b.weights(4)))],
            "the bias is computed at run time",
        ),
    ],
)
def test_arithmetic_before_a_convolution_stays(builder, apply, make, reason):
    b = builder(x=(1, 4, 7, 5))
    check_refused(apply(FuseAffineConv(), b.graph(*make(b))), reason)


def instance_norm(b, x):
    return b.node("InstanceNormalization", x, b.weights(4), b.weights(4))


@pytest.mark.parametrize("op", ["Conv", "InstanceNormalization"])
@pytest.mark.parametrize("swap", [False, True])
def test_an_addition_becomes_the_residual(builder, apply, operators, op, swap):
    b = builder(x=PICTURE, r=PICTURE)
    value = conv(b, "x", size=1) if op == "Conv" else instance_norm(b, "x")
    result = apply(FuseResidual(), b.graph(b.node("Add", *(["r", value] if swap else [value, "r"]))))
    assert operators(result.graph) == {f"edgeinfer.{op}": 1}
    assert result.graph.nodes[0].inputs[3] == "r"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda b: [b.node("Add", y := instance_norm(b, "x"), "r"), y],
            "the value before the addition is read elsewhere",
        ),
        (
            lambda b: [b.node("Add", y := instance_norm(b, "x"), "r"), b.node("Relu", y)],
            "the value before the addition is read elsewhere",
        ),
        (
            lambda b: [b.node("Add", instance_norm(b, "x"), b.node("GlobalAveragePool", "r"))],
            "the operands of the addition do not have the same shape",
        ),
    ],
)
def test_an_addition_stays_and_the_reason_is_told(builder, apply, make, reason):
    b = builder(x=PICTURE, r=PICTURE)
    check_refused(apply(FuseResidual(), b.graph(*make(b))), reason)


def test_doubling_is_no_residual(builder, apply):
    b = builder(x=PICTURE)
    value = instance_norm(b, "x")
    assert apply(FuseResidual(), b.graph(b.node("Add", value, value))).count == 0


def test_an_addition_after_a_convolution_of_one_dimension_stays(builder, apply):
    b = builder(x=(1, 4, 9), r=(1, 2, 7))
    value = b.node("Add", b.node("Conv", "x", b.weights(2, 4, 3)), "r")
    check_refused(apply(FuseResidual(), b.graph(value)), "only two-dimensional convolutions are fused")


ACTIVATIONS = {
    "Relu": {},
    "LeakyRelu": {"alpha": 0.3},
    "HardSigmoid": {"alpha": 0.1, "beta": 0.4},
    "HardSwish": {},
    "Sigmoid": {},
    "Tanh": {},
    "Elu": {"alpha": 0.7},
    "Gelu": {},
    "Swish": {"alpha": 1.0},
}
PRODUCERS = {
    "Conv": lambda b: conv(b, "x"),
    "ConvTranspose": lambda b: b.node("ConvTranspose", "x", b.weights(4, 2, 3, 3)),
    "InstanceNormalization": lambda b: instance_norm(b, "x"),
    "MatMul": lambda b: b.node("MatMul", "x", b.weights(5, 3)),
    "Add": lambda b: b.node("Add", "x", b.weights(4, 1, 1)),
    "Mul": lambda b: b.node("Mul", "x", b.weights(4, 1, 1)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("producer", PRODUCERS)
def test_an_activation_goes_into_the_operator_before_it(builder, apply, operators, producer, activation):
    b = builder(x=(1, 4, "h", 5))
    value = b.node(activation, PRODUCERS[producer](b), **ACTIVATIONS[activation])
    result = apply(FuseActivation(), b.graph(value))
    assert operators(result.graph) == {f"edgeinfer.{producer}": 1}


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (None, 0.25), (0.25, None)])
def test_a_clip_goes_into_the_operator_before_it(builder, apply, operators, low, high):
    b = builder(x=PICTURE)
    bounds = ["" if bound is None else b.constant(bound) for bound in (low, high)]
    result = apply(FuseActivation(), b.graph(b.node("Clip", conv(b, "x"), *bounds)))
    assert operators(result.graph) == {"edgeinfer.Conv": 1}


@pytest.mark.parametrize(
    "make",
    [
        lambda b: [b.node("Relu", y := conv(b, "x")), y],
        lambda b: [b.node("Relu", y := conv(b, "x")), b.node("Neg", y)],
        lambda b: [b.node("Clip", conv(b, "x"), b.node("ReduceMin", "x", keepdims=0))],
        lambda b: [b.node("Gelu", conv(b, "x"), approximate="tanh")],
        lambda b: [b.node("Swish", conv(b, "x"), alpha=2.0)],
        lambda b: [b.node("Exp", conv(b, "x"))],
    ],
)
def test_an_activation_stays(builder, apply, make):
    b = builder(x=PICTURE)
    assert apply(FuseActivation(), b.graph(*make(b))).count == 0


@pytest.mark.parametrize(
    ("make", "shape", "reason"),
    [
        (lambda b: b.node("Conv", "x", b.weights(2, 4, 3)), (1, 4, 9), "only two-dimensional convolutions are fused"),
        (
            lambda b: b.node("ConvTranspose", "x", b.weights(4, 2, 3)),
            (1, 4, 9),
            "only two-dimensional convolutions are fused",
        ),
        (
            lambda b: b.node("ConvTranspose", "x", b.weights(4, 2, 3, 3), auto_pad="SAME_UPPER"),
            (1, 4, 7, 5),
            "the padding follows from an output shape",
        ),
    ],
)
def test_an_activation_stays_and_the_reason_is_told(builder, apply, make, shape, reason):
    b = builder(x=shape)
    check_refused(apply(FuseActivation(), b.graph(b.node("Relu", make(b)))), reason)


def test_activations_of_whole_numbers_stay(builder, apply):
    b = builder(DType.INT32, x=(2, 3))
    product = b.node("MatMul", "x", b.constant(np.arange(6).reshape(3, 2), np.int32))
    total = b.node("Add", "x", b.constant([1, 2, 3], np.int32))
    assert apply(FuseActivation(), b.graph(b.node("Relu", product), b.node("Relu", total))).count == 0
