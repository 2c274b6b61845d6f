"""Ranges, scales and roundings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.errors import QuantizationError
from edgeinfer.quantize.observation import BINS, Observation
from edgeinfer.quantize.ranges import METHODS, choose_range
from edgeinfer.quantize.rounding import rounded_weights
from edgeinfer.quantize.scales import (
    activation_scale,
    dequantized_weight,
    quantized_weight,
    scales_for_bias,
    weight_scales,
)


def observed(values: np.ndarray) -> Observation:
    low, high = float(values.min()), float(values.max())
    counts = np.histogram(values, BINS, (low, high))[0]
    return Observation(low, high, counts=counts)


@pytest.mark.parametrize("method", METHODS)
def test_ranges_of_a_bell_hold_most_of_it_and_zero(method: str):
    values = np.random.default_rng(0).standard_normal(100_000) + 1
    low, high = choose_range(observed(values), method)
    assert values.min() - 0.1 <= low <= -0.5
    assert 2.5 <= high <= values.max() + 0.1


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_one_outlier_among_many_does_not_spoil_the_scale(method: str):
    values = np.append(np.random.default_rng(0).random(200_000), 1.8)
    _, high = choose_range(observed(values), method)
    assert high < 1.3


@pytest.mark.parametrize("method", METHODS)
def test_outliers_of_1e30_give_finite_scales(method: str):
    values = np.append(np.random.default_rng(0).standard_normal(1000), [1e30, -1e30])
    scale = activation_scale(choose_range(observed(values), method))
    assert np.isfinite(scale.scale)
    assert scale.scale > 0


def test_mse_is_no_worse_than_the_whole_range():
    values = np.append(np.random.default_rng(0).standard_normal(50_000), [9.0, -9.0])

    def error(method: str) -> float:
        scale = activation_scale(choose_range(observed(values), method))
        zero = float(scale.zero_point)
        integers = np.clip(np.rint(values / scale.scale) + zero, 0, 255)
        return float(np.mean(((integers - zero) * scale.scale - values) ** 2))

    assert error("mse") < error("minmax")


def test_an_unknown_method_names_all():
    with pytest.raises(QuantizationError, match="minmax, percentile, mse, entropy"):
        choose_range(observed(np.arange(9.0)), "median")


def test_a_value_that_is_always_zero_has_a_scale():
    scale = activation_scale(choose_range(Observation(0.0, 0.0), "mse"))
    assert (scale.scale, scale.zero_point) == (1.0, 0)


def test_a_value_never_seen_has_a_scale():
    assert activation_scale(choose_range(Observation(), "mse")).scale == 1.0


@given(st.floats(-1e30, 0), st.floats(0, 1e30))
def test_zero_is_exact_and_ends_are_within_one_step(low: float, high: float):
    scale = activation_scale((low, high))
    assert 0 <= scale.zero_point <= 255
    step = float(scale.scale)
    if high - low > 1e-17:
        assert (0 - int(scale.zero_point)) * step <= low + step
        assert (255 - int(scale.zero_point)) * step >= high - step


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 1))
def test_weights_are_within_half_a_step(rows: int, columns: int, axis: int):
    weight = np.random.default_rng(rows * 8 + columns).standard_normal((rows, columns)).astype(np.float32)
    scale = weight_scales(weight, axis)
    back = dequantized_weight(quantized_weight(weight, scale, axis), scale, axis)
    steps = scale[:, None] if axis == 0 else scale[None]
    assert (np.abs(back - weight) <= steps * 0.501).all()


def test_a_channel_of_zeros_stays_zero():
    weight = np.zeros((2, 3), np.float32)
    scale = weight_scales(weight, 0)
    assert (quantized_weight(weight, scale, 0) == 0).all()
    assert (scale == 1).all()


def test_scales_grow_until_the_bias_fits():
    scale = scales_for_bias(np.array([1e6, 0.0]), 1e-6, 9)
    assert abs(1e6 / (1e-6 * scale[0])) < 2**31
    assert scale[1] == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_rounding_for_the_inputs_beats_rounding_each_weight(axis: int):
    random = np.random.default_rng(0)
    inputs = random.standard_normal((4000, 4)) @ random.standard_normal((4, 30)) + 1
    weight = random.standard_normal((12, 30) if axis == 0 else (30, 12)).astype(np.float32)
    scale = weight_scales(weight, axis) * 1
    moment = (inputs.T @ inputs / len(inputs))[None]

    def error(integers: np.ndarray) -> float:
        difference = dequantized_weight(integers, scale, axis) - weight
        return float(np.mean((inputs @ (difference.T if axis == 0 else difference)) ** 2))

    assert error(rounded_weights(weight, axis, moment)) < 0.3 * error(quantized_weight(weight, scale, axis))
    np.testing.assert_array_equal(rounded_weights(weight, axis, None), quantized_weight(weight, scale, axis))
