"""Weights stored in fewer bytes: float16, and integers in groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.graph import DType
from edgeinfer.ops import run_graph
from edgeinfer.passes import StoreWeightsAsFloat16, StoreWeightsAsIntegers
from edgeinfer.passes.store_weights_as_integers import GROUP, quantize_groups


def check_refused(result, reason):
    assert result.count == 0
    assert any(reason in refusal.reason for refusal in result.refusals)


def test_large_weights_are_stored_in_half_the_bytes(builder, operators):
    b = builder(x=(1, 64))
    graph = b.graph(b.node("Gemm", "x", b.weights(64, 32), b.weights(32)))
    result = StoreWeightsAsFloat16().run(graph).graph
    assert operators(result) == {"Cast": 1, "Gemm": 1}
    assert sorted(array.dtype.itemsize for array in result.constants.values()) == [2, 4]
    x = np.ones((1, 64), np.float32)
    (expected,), (found,) = (run_graph(g, {"x": x}).values() for g in (graph, result))
    # float16 keeps 11 binary digits of each of the 64 weights.
    bound = 2.0**-11 * np.abs(graph.constants[graph.nodes[0].inputs[1]]).sum(axis=0) + 1e-5
    assert (np.abs(found - expected) <= bound).all()


@pytest.mark.parametrize("value", [1e6, np.inf, np.nan])
def test_weights_beyond_the_range_of_half_precision_stay(builder, value):
    b = builder(x=(1, 64))
    weights = np.zeros((64, 32))
    weights[3, 4] = value
    graph = b.graph(b.node("MatMul", "x", b.constant(weights)))
    check_refused(StoreWeightsAsFloat16().run(graph), "a value is beyond the range of float16, ±65504")


def test_half_precision_leaves_other_dtypes_alone(builder):
    b = builder(DType.FLOAT64, x=(1, 64))
    assert StoreWeightsAsFloat16().run(b.graph(b.node("MatMul", "x", b.weights(64, 32, dtype=np.float64)))).count == 0


def _products(builder):
    """A convolution, a matrix product, a transposed one and a table, each with large weights."""
    b = builder(x=(1, 40, 5, 6))
    y = b.node("Conv", "x", b.weights(24, 40, 3, 3), b.weights(24), pads=[1] * 4)
    y = b.node("Reshape", y, b.axes(30, 24))
    y = b.node("MatMul", y, b.weights(24, 70))
    y = b.node("Gemm", y, b.weights(45, 70), transB=1)
    table = b.node("Gather", b.weights(90, 45), b.axes(0, 89))
    return b.graph(y, table)


@pytest.mark.parametrize("bits", [8, 4])
def test_weights_come_back_within_half_a_step_of_their_group(builder, operators, bits):
    graph = _products(builder)
    result = StoreWeightsAsIntegers(bits).run(graph)
    assert result.count == 4
    assert operators(result.graph)["DequantizeLinear"] == 4
    stored = {name: array for name, array in result.graph.constants.items() if array.dtype == np.int8}
    # The matrix product has 24 inputs, fewer than a group: it keeps 8 bits.
    assert sorted(result.graph.types[name].dtype.value for name in stored) == sorted(["int8"] + [f"int{bits}"] * 3)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 40, 5, 6)).astype(np.float32)}
    for (name, before), after in zip(
        run_graph(graph, feeds).items(), run_graph(result.graph, feeds).values(), strict=True
    ):
        # Independent errors of half a step at most: the noise stays far below the signal.
        share = np.linalg.norm(after - before) / np.linalg.norm(before)
        assert 0 < share < (0.02 if bits == 8 else 0.25), name


@settings(max_examples=60, deadline=None)
@given(
    bits=st.sampled_from([4, 8]),
    length=st.integers(1, 3 * GROUP),
    seed=st.integers(0, 99),
    size=st.sampled_from([1e-30, 1e-6, 1e-3, 1.0, 1e3, 1e30]),
)
def test_a_group_is_no_worse_than_by_its_largest_value(bits, length, seed, size):
    rows = (np.random.default_rng(seed).standard_normal((3, length)) * size).astype(np.float32)
    rows[0] = 0
    integers, scales = quantize_groups(rows, bits)
    assert integers.shape == rows.shape
    assert scales.shape == (3, -(-length // GROUP))
    assert integers.min() >= -(1 << (bits - 1))
    assert integers.max() < 1 << (bits - 1)
    wide = scales.astype(np.float64).repeat(GROUP, axis=1)[:, :length]
    error = np.abs(integers * wide - rows)
    assert (error[0] == 0).all()
    groups = np.zeros((3, -(-length // GROUP) * GROUP))
    groups[:, :length] = np.abs(rows)
    largest = groups.reshape(3, -1, GROUP).max(axis=2).repeat(GROUP, axis=1)[:, :length]
    # The sum of squares is at most that of half steps, the largest value over the integers' range; float16 scales are
    # 2**-11 off at most, or 2**-25 in all where they are subnormal, and 128 times that is 2**-18.
    bound = largest / ((1 << (bits - 1)) - 1) * 0.51 + (2.0**-18 if scales.dtype == np.float16 else 0)
    assert (error**2).sum() <= (bound**2).sum() * 1.1 + 1e-300


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_weights_that_are_no_numbers_stay(builder, value):
    b = builder(x=(1, 64))
    weights = np.zeros((64, 32))
    weights[3, 4] = value
    graph = b.graph(b.node("MatMul", "x", b.constant(weights)))
    check_refused(StoreWeightsAsIntegers(4).run(graph), "a value is infinite or no number")


def test_constants_with_other_readers_and_small_ones_stay(builder):
    b = builder(x=(32, 32))
    shared = b.weights(32, 32)
    y = b.node("Add", b.node("MatMul", "x", shared), shared)
    y = b.node("MatMul", y, b.weights(32, 31))
    both_ways = b.weights(32, 32)
    y = b.node("Gemm", b.node("Gemm", b.node("MatMul", y, b.weights(31, 32)), both_ways), both_ways, transB=1)
    assert StoreWeightsAsIntegers(4).run(b.graph(y)).count == 0
