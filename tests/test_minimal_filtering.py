"""Winograd's matrices: exact as fractions, and what rounding to float32 costs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from edgeinfer.minimal_filtering import filter_matrix, input_matrix, output_matrix

# Output pixels and taps of a filter along one axis.
FORMS = [(2, 3), (4, 3), (6, 3), (4, 2), (7, 2), (5, 4), (5, 3), (6, 2), (3, 3)]
# The largest error of float32 as a share of the largest output, with 64 input channels of normal numbers.
LARGEST_ERROR = 2e-5


@pytest.mark.parametrize(("output", "taps"), FORMS)
def test_products_at_points_are_the_correlation(output, taps):
    size = output + taps - 1
    filters, inputs, outputs = filter_matrix(size, taps), input_matrix(size), output_matrix(size, output)
    g = [Fraction(3 * k * k - 5, 7) for k in range(taps)]
    d = [Fraction(k**3 - 11 * k + 2, 3) for k in range(size)]
    u = [sum(a * b for a, b in zip(row, g, strict=True)) for row in filters]
    v = [sum(a * b for a, b in zip(row, d, strict=True)) for row in inputs]
    y = [sum(a * b * c for a, b, c in zip(row, u, v, strict=True)) for row in outputs]
    assert y == [sum(g[t] * d[k + t] for t in range(taps)) for k in range(output)]


@pytest.mark.parametrize(("output", "taps"), FORMS)
def test_a_filter_with_one_tap_less_has_nothing_at_infinity(output, taps):
    assert filter_matrix(output + taps - 1, taps)[-1] == (0,) * (taps - 1) + (1,)


@pytest.mark.parametrize(("output", "taps"), FORMS)
def test_error_of_float32_is_bounded(output, taps):
    size, channels, tiles = output + taps - 1, 64, 100
    generator = np.random.default_rng(size)
    g = generator.standard_normal((channels, taps, taps), np.float32)
    d = generator.standard_normal((tiles, channels, size, size), np.float32)
    transform = np.array(filter_matrix(size, taps), np.float64)
    inputs, outputs = np.array(input_matrix(size), np.float32), np.array(output_matrix(size, output), np.float32)
    u = (transform @ g @ transform.T).astype(np.float32)
    m = np.zeros((tiles, size, size), np.float32)
    for channel in range(channels):
        m += u[channel] * (inputs @ d[:, channel] @ inputs.T)
    y = outputs @ m @ outputs.T
    windows = np.lib.stride_tricks.sliding_window_view(d.astype(np.float64), (taps, taps), axis=(2, 3))
    expected = np.einsum("ncyxrs,crs->nyx", windows, g.astype(np.float64))
    assert np.abs(y - expected).max() <= LARGEST_ERROR * np.abs(expected).max()
