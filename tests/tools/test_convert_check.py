"""How differences between outputs are measured."""

from __future__ import annotations

import numpy as np

from edgeinfer.tools.convert_check import differences


def test_difference_is_relative_to_the_range():
    assert differences(np.array([0.0, 2.0, 4.5]), np.array([0.0, 2.0, 4.0])) == (0.5, 0.125)


def test_equal_infinities_and_nans_are_no_difference():
    values = np.array([np.inf, -np.inf, np.nan, 1.0])
    assert differences(values, values) == (0.0, 0.0)


def test_a_nan_or_infinity_on_one_side_is_infinite():
    for wrong in (np.nan, np.inf):
        assert differences(np.array([0.0, wrong]), np.array([0.0, 1.0])) == (np.inf, np.inf)
