"""Batch normalisation, activations, matrix products and rearrangements that exporters spell out; half weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeinfer.passes import (
    DEFAULT_PASSES,
    FactorChannelScale,
    FuseBatchNormalization,
    FuseBatchNormalizationAffine,
    FuseDepthToSpace,
    FuseGelu,
    FuseHardSigmoid,
    FuseHardSwish,
    FuseMatMulBias,
    FuseSilu,
    FuseWeightedSum,
    ReplaceGemm,
    ReplaceSquare,
    ReplaceSum,
    run_passes,
)


def check_refused(result, reason):
    assert result.count == 0
    assert [refusal.reason for refusal in result.refusals] == [reason]


def batch_norm(b, x, channels=4, **attributes):
    gamma, beta, mean = (b.weights(channels) for _ in range(3))
    return b.node("BatchNormalization", x, gamma, beta, mean, b.constant(np.arange(1.0, channels + 1)), **attributes)


def conv(b):
    return b.node("Conv", "x", b.weights(4, 4, 3, 3))


@pytest.mark.parametrize(
    "make", [conv, lambda b: b.node("ConvTranspose", "x", b.weights(4, 2, 3, 3), b.weights(4), group=2)]
)
def test_batch_normalization_goes_into_the_convolution(builder, apply, make):
    b = builder(x=(1, 4, "h", "w"))
    result = apply(FuseBatchNormalization(), b.graph(batch_norm(b, make(b), epsilon=1e-3)))
    assert [node.op for node in result.graph.nodes] in (["Conv"], ["ConvTranspose"])


@pytest.mark.parametrize("transposed", [0, 1])
def test_batch_normalization_goes_into_gemm(builder, apply, operators, transposed):
    b = builder(x=("n", 3))
    weight = b.weights(4, 3) if transposed else b.weights(3, 4)
    value = b.node("Gemm", "x", weight, b.weights(1, 4), alpha=0.5, beta=2.0, transB=transposed)
    assert operators(apply(FuseBatchNormalization(), b.graph(batch_norm(b, value))).graph) == {"Gemm": 1}


def test_batch_normalization_of_vectors_becomes_a_product_and_a_sum(builder, apply, operators):
    b = builder(x=("n", 4))
    assert operators(apply(FuseBatchNormalization(), b.graph(batch_norm(b, "x"))).graph) == {"Add": 1, "Mul": 1}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda b: [batch_norm(b, y := conv(b)), y], "the value before the normalisation is read elsewhere"),
        (
            lambda b: [batch_norm(b, y := conv(b)), b.node("Relu", y)],
            "the value before the normalisation is read elsewhere",
        ),
        (
            lambda b: [
                b.node("BatchNormalization", "x", *[b.node("Abs", b.weights(4))] * 3, b.constant([1.0, 2.0, 3.0, 4.0]))
            ],
            "the parameters are computed at run time",
        ),
        (
            lambda b: [batch_norm(b, b.node("Conv", "x", b.node("Abs", b.weights(4, 4, 1, 1))))],
            "the weights are computed at run time",
        ),
        (
            lambda b: [batch_norm(b, b.node("MatMul", "x", b.weights(5, 4)))],
            "the channels are not those of the weights",
        ),
    ],
)
def test_batch_normalization_stays_and_the_reason_is_told(builder, apply, make, reason):
    b = builder(x=(1, 4, 7, 5))
    check_refused(apply(FuseBatchNormalization(), b.graph(*make(b))), reason)


@pytest.mark.parametrize("op", ["Mul", "Add"])
@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), ()])
def test_arithmetic_goes_into_the_batch_normalization(builder, apply, operators, op, shape):
    b = builder(x=(1, 4, "h", "w"))
    result = apply(FuseBatchNormalizationAffine(), b.graph(b.node(op, b.weights(*shape), batch_norm(b, "x"))))
    assert operators(result.graph) == {"BatchNormalization": 1}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda b: [b.node("Mul", y := batch_norm(b, "x"), b.constant(2.0)), y],
            "the normalised value is read elsewhere",
        ),
        (
            lambda b: [b.node("Mul", y := batch_norm(b, "x"), b.constant(2.0)), b.node("Relu", y)],
            "the normalised value is read elsewhere",
        ),
        (
            lambda b: [b.node("Mul", batch_norm(b, "x"), b.weights(5))],
            "the constant does not hold one value a channel",
        ),
    ],
)
def test_arithmetic_after_batch_normalization_stays(builder, apply, make, reason):
    b = builder(x=(1, 4, 7, 5))
    check_refused(apply(FuseBatchNormalizationAffine(), b.graph(*make(b))), reason)


def clip(b, x, high=6.0):
    return b.node("Clip", x, b.constant(0.0), b.constant(high))


def plus_three(b, x="x"):
    return b.node("Add", x, b.constant(3.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.node("Div", clip(b, plus_three(b)), b.constant(6.0)),
        lambda b: b.node("Mul", b.constant(1 / 6), clip(b, plus_three(b))),
        lambda b: clip(b, b.node("Add", b.constant(0.5), b.node("Mul", "x", b.constant(0.2))), 1.0),
        lambda b: clip(b, b.node("Add", b.node("Div", "x", b.constant(6.0)), b.constant(0.5)), 1.0),
    ],
)
def test_a_hard_sigmoid_is_fused(builder, apply, operators, make):
    b = builder(x=(2, "n"))
    assert operators(apply(FuseHardSigmoid(), b.graph(make(b))).graph).get("HardSigmoid") == 1


def test_a_clip_that_is_scaled_otherwise_stays(builder, apply):
    b = builder(x=(2, "n"))
    graph = b.graph(b.node("Mul", clip(b, plus_three(b)), b.constant(0.5)))
    check_refused(apply(FuseHardSigmoid(), graph), "the result of the Clip to 0..6 is multiplied by 0.5")


@pytest.mark.parametrize("reader", ["Relu", None])
def test_a_hard_sigmoid_whose_clip_is_read_elsewhere_stays(builder, apply, reader):
    b = builder(x=(2, "n"))
    cut = clip(b, plus_three(b))
    other = b.node(reader, cut) if reader else cut
    assert apply(FuseHardSigmoid(), b.graph(b.node("Div", cut, b.constant(6.0)), other)).count == 0


def gate(b, **attributes):
    return b.node("HardSigmoid", "x", **(attributes or {"alpha": 1 / 6, "beta": 0.5}))


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.node("Mul", "x", gate(b)),
        lambda b: b.node("Mul", gate(b), "x"),
        lambda b: b.node("Div", b.node("Mul", "x", clip(b, plus_three(b))), b.constant(6.0)),
        lambda b: b.node("Mul", b.node("Mul", "x", b.constant(1 / 6)), clip(b, plus_three(b))),
    ],
)
def test_a_hard_swish_is_fused(builder, apply, operators, make):
    b = builder(x=(2, "n"))
    assert operators(apply(FuseHardSwish(), b.graph(make(b))).graph).get("HardSwish") == 1


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda b: [b.node("Mul", "x", g := gate(b)), g], "the gate is read elsewhere"),
        (lambda b: [b.node("Mul", "x", g := gate(b)), b.node("Neg", g)], "the gate is read elsewhere"),
        (
            lambda b: [b.node("Mul", "x", gate(b, alpha=0.2, beta=0.5))],
            "the gate is HardSigmoid with alpha 0.2 and beta 0.5, not 1/6 and 1/2",
        ),
    ],
)
def test_a_hard_swish_stays_and_the_reason_is_told(builder, apply, make, reason):
    b = builder(x=(2, "n"))
    check_refused(apply(FuseHardSwish(), b.graph(*make(b))), reason)


@pytest.mark.parametrize("swap", [False, True])
def test_silu_is_fused(builder, apply, operators, swap):
    b = builder(x=(2, "n"))
    sigmoid = b.node("Sigmoid", "x")
    value = b.node("Mul", *([sigmoid, "x"] if swap else ["x", sigmoid]))
    assert operators(apply(FuseSilu(), b.graph(value)).graph) == {"Swish": 1}


@pytest.mark.parametrize("reader", ["Neg", None])
def test_silu_whose_gate_is_read_elsewhere_stays(builder, apply, reader):
    b = builder(x=(2, "n"))
    sigmoid = b.node("Sigmoid", "x")
    other = b.node(reader, sigmoid) if reader else sigmoid
    check_refused(apply(FuseSilu(), b.graph(b.node("Mul", "x", sigmoid), other)), "the gate is read elsewhere")


def one_plus_erf(b):
    return b.node("Add", b.node("Erf", b.node("Div", "x", b.constant(math.sqrt(2)))), b.constant(1.0))


def one_plus_tanh(b, cube):
    term = b.node("Mul", cube(b), b.constant(0.044715))
    scaled = b.node("Mul", b.node("Add", "x", term), b.constant(math.sqrt(2 / math.pi)))
    return b.node("Add", b.node("Tanh", scaled), b.constant(1.0))


def halved(b, x):
    return b.node("Mul", x, b.constant(0.5))


CUBES = [
    lambda b: b.node("Pow", "x", b.constant(3.0)),
    lambda b: b.node("Mul", b.node("Mul", "x", "x"), "x"),
    lambda b: b.node("Mul", "x", b.node("Pow", "x", b.constant(2.0))),
]


@pytest.mark.parametrize(
    "finish",
    [
        lambda b, s: b.node("Mul", halved(b, "x"), s),
        lambda b, s: halved(b, b.node("Mul", "x", s)),
        lambda b, s: b.node("Mul", "x", halved(b, s)),
    ],
)
@pytest.mark.parametrize("cube", [None, *CUBES])
def test_gelu_is_fused(builder, apply, operators, finish, cube):
    b = builder(x=(2, "n"))
    total = one_plus_tanh(b, cube) if cube else one_plus_erf(b)
    result = apply(FuseGelu(), b.graph(finish(b, total)))
    assert operators(result.graph) == {"Gelu": 1}
    assert result.graph.nodes[0].attributes["approximate"] == ("tanh" if cube else "none")


@pytest.mark.parametrize("reader", ["Neg", None])
def test_gelu_with_a_part_that_is_read_elsewhere_stays(builder, apply, reader):
    b = builder(x=(2, "n"))
    half = halved(b, "x")
    other = b.node(reader, half) if reader else half
    graph = b.graph(b.node("Mul", half, one_plus_erf(b)), other)
    check_refused(apply(FuseGelu(), graph), "an intermediate value is read elsewhere")


@pytest.mark.parametrize(
    "make",
    [
        lambda b: b.node("Mul", b.node("Mul", one_plus_erf(b), b.constant([[[0.5]]])), "x"),
        lambda b: halved(b, b.node("Mul", "x", one_plus_tanh(b, lambda b: b.node("Pow", "x", b.constant([[[3.0]]]))))),
    ],
)
def test_gelu_with_constants_that_add_axes_stays(builder, apply, make):
    b = builder(x=(2, 5))
    assert apply(FuseGelu(), b.graph(make(b))).count == 0


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_a_bias_goes_into_the_matrix_product(builder, apply, operators, swap, shape):
    b = builder(x=(2, "n", 4))
    product, bias = b.node("MatMul", "x", b.weights(4, 3)), b.weights(*shape)
    value = b.node("Add", *([bias, product] if swap else [product, bias]))
    assert operators(apply(FuseMatMulBias(), b.graph(value)).graph) == {"edgeinfer.MatMul": 1}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda b, y: [b.node("Add", y, b.weights(3)), y], "the product is read elsewhere"),
        (lambda b, y: [b.node("Add", y, b.weights(3)), b.node("Relu", y)], "the product is read elsewhere"),
        (lambda b, y: [b.node("Add", y, b.weights(5, 1))], "the summand does not hold one value a column"),
        (lambda b, y: [b.node("Add", y, b.weights(1, 1, 3))], "the summand does not hold one value a column"),
    ],
)
def test_a_bias_stays_and_the_reason_is_told(builder, apply, make, reason):
    b = builder(x=(5, 4))
    check_refused(apply(FuseMatMulBias(), b.graph(*make(b, b.node("MatMul", "x", b.weights(4, 3))))), reason)


@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.5, "beta": 3.0}, {"transB": 1}])
@pytest.mark.parametrize("bias", [None, (3,), (1, 3), (1,), ()])
def test_gemm_becomes_a_matrix_product(builder, apply, operators, attributes, bias):
    b = builder(x=("n", 4))
    weight = b.weights(3, 4) if attributes.get("transB") else b.weights(4, 3)
    value = b.node("Gemm", "x", weight, *([] if bias is None else [b.weights(*bias)]), **attributes)
    assert operators(apply(ReplaceGemm(), b.graph(value)).graph) == {"edgeinfer.MatMul": 1}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda b: b.node("Gemm", "x", b.weights(5, 3), transA=1), "the first operand is transposed"),
        (lambda b: b.node("Gemm", "x", b.node("Abs", b.weights(4, 3))), "the weights are computed at run time"),
        (
            lambda b: b.node("Gemm", "x", b.weights(4, 3), b.node("Abs", b.weights(3))),
            "the weights are computed at run time",
        ),
        (lambda b: b.node("Gemm", "x", b.weights(4, 3), b.weights(5, 3)), "the bias differs from row to row"),
    ],
)
def test_gemm_stays_and_the_reason_is_told(builder, apply, make, reason):
    b = builder(x=(5, 4))
    check_refused(apply(ReplaceGemm(), b.graph(make(b))), reason)


REARRANGEMENTS = {
    "DCR": ((1, 2, 2, 3, 4, 6), [0, 3, 4, 1, 5, 2], (1, 3, 8, 12)),
    "CRD": ((1, 3, 2, 2, 4, 6), [0, 1, 4, 2, 5, 3], (1, 3, 8, 12)),
    "depth": ((1, 12, 2, 2, 3, 2), [0, 3, 5, 1, 2, 4], (1, 48, 2, 3)),
}


def rearranged(b, split, perm, final):
    first = b.node("Reshape", "x", b.axes(*split))
    middle = b.node("Transpose", first, perm=perm)
    return first, middle, b.node("Reshape", middle, b.axes(*final))


@pytest.mark.parametrize("kind", REARRANGEMENTS)
def test_a_rearrangement_of_pixels_is_fused(builder, apply, operators, kind):
    b = builder(x=(1, 12, 4, 6))
    result = apply(FuseDepthToSpace(), b.graph(rearranged(b, *REARRANGEMENTS[kind])[2]))
    assert operators(result.graph) == {"SpaceToDepth" if kind == "depth" else "DepthToSpace": 1}


def test_a_rearrangement_whose_first_step_is_read_elsewhere_stays(builder, apply):
    b = builder(x=(1, 12, 4, 6))
    first, middle, value = rearranged(b, *REARRANGEMENTS["DCR"])
    check_refused(apply(FuseDepthToSpace(), b.graph(value, first)), "the reshaped value is read elsewhere")
    assert apply(FuseDepthToSpace(), b.graph(value, middle)).count == 0


def test_a_rearrangement_of_other_blocks_stays(builder, apply):
    b = builder(x=(1, 12, 4, 6))
    split, perm, _ = REARRANGEMENTS["DCR"]
    result = apply(FuseDepthToSpace(), b.graph(rearranged(b, split, perm, (1, 3, 4, 24))[2]))
    check_refused(result, f"the shapes [1, 12, 4, 6], {list(split)}, [1, 3, 4, 24] do not belong to blocks of pixels")


@pytest.mark.parametrize("reader", ["Neg", None])
def test_a_weighted_sum_whose_product_is_read_elsewhere_stays(builder, apply, reader):
    b = builder(w=(5,))
    product = b.node("Mul", b.weights(5, 8), b.node("Unsqueeze", "w", b.axes(1)))
    other = b.node(reader, product) if reader else product
    graph = b.graph(b.node("ReduceSum", product, b.axes(0), keepdims=0), other)
    assert apply(FuseWeightedSum(), graph).count == 0


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_sum_becomes_additions(builder, apply, operators, count):
    names = ["x", "y", "z", "u"][:count]
    b = builder(**{name: (2, 3) if name != "y" else (3,) for name in names})
    assert operators(apply(ReplaceSum(), b.graph(b.node("Sum", *names))).graph) == {"Add": count - 1}


@pytest.mark.parametrize(
    ("exponent", "expected"), [(2.0, "Mul"), ([[2.0]], "Mul"), (2.001, "Pow"), ([2.0, 2.0, 2.0], "Pow")]
)
def test_a_square_becomes_a_product(builder, apply, operators, exponent, expected):
    b = builder(x=(2, 3))
    power = b.node("Pow", b.node("Abs", "x"), b.constant(np.array(exponent, np.float32)))
    assert operators(apply(ReplaceSquare(), b.graph(power)).graph) == {"Abs": 1, expected: 1}


def excitation(b, x):
    return b.node("Sigmoid", b.node("GlobalAveragePool", x))


@pytest.mark.parametrize("swapped", [False, True])
def test_picture_plus_scaled_picture_becomes_one_product(builder, apply, operators, swapped):
    b = builder(x=(2, 4, "h", "w"))
    operands = [excitation(b, "x"), "x"][:: -1 if swapped else 1]
    product = b.node("Mul", *operands)
    result = apply(FactorChannelScale(), b.graph(b.node("Add", *(["x", product][:: -1 if swapped else 1]))))
    assert operators(result.graph) == {"Add": 1, "GlobalAveragePool": 1, "Mul": 1, "Sigmoid": 1}
    (total,) = (node for node in result.graph.nodes if node.op == "Add")
    assert "x" not in total.inputs


def test_factor_for_each_pixel_stays(builder, apply):
    b = builder(x=(2, 4, "h", "w"), s=(2, 1, "h", "w"))
    result = apply(FactorChannelScale(), b.graph(b.node("Add", "x", b.node("Mul", "x", "s"))))
    check_refused(result, "the factor is not one for each channel that is computed")


def test_scaled_picture_that_is_read_elsewhere_stays(builder, apply):
    b = builder(x=(2, 4, "h", "w"))
    product = b.node("Mul", "x", excitation(b, "x"))
    result = apply(FactorChannelScale(), b.graph(b.node("Add", "x", product), product))
    check_refused(result, "the product is read elsewhere")


def test_factor_of_something_without_pixels_stays(builder, apply):
    b = builder(x=(2, 4), s=(2, 1))
    result = apply(FactorChannelScale(), b.graph(b.node("Add", "x", b.node("Mul", "x", "s"))))
    check_refused(result, "the shapes are not those of a picture and a factor for each channel")


def test_batch_normalization_behind_a_spelled_out_bias_goes_into_the_convolution(builder, operators):
    b = builder(x=(1, 4, "h", "w"))
    biased = b.node("Add", b.node("ConvTranspose", "x", b.weights(4, 4, 2, 2), strides=[2, 2]), b.weights(1, 4, 1, 1))
    graph, _ = run_passes(b.graph(b.node("Relu", batch_norm(b, biased))), DEFAULT_PASSES)
    assert [(node.op, node.attributes.get("activation")) for node in graph.nodes] == [("ConvTranspose", "Relu")]
