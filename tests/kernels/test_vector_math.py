"""Elementary functions within the errors that their module states, at every CPU level."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session

# Largest error in units in the last place, as edgeinfer/kernels/vector_math.py states it.
FUNCTIONS = {
    "Exp": (np.exp, 2),
    "Log": (np.log, 2),
    "Tanh": (np.tanh, 2),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 3),
    "Erf": (np.vectorize(math.erf, otypes=[float]), 2),
}


def run(op: str, x: np.ndarray, level: str) -> np.ndarray:
    known = TensorType(DType.FLOAT32, x.shape)
    graph = Graph("function", ["x"], ["y"], [Node(op, ["x"], ["y"])], {"x": known, "y": known})
    with Session(graph, threads=1, kernels=kernels_for(level)) as session:
        assert session.plan({"x": x.shape}).host_steps() == []
        return session(x)


def arguments() -> np.ndarray:
    """Every 40,009th float32, and a dense grid where the functions bend."""
    bits = np.arange(0, 2**32, 40_009, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    dense = np.linspace(-12, 12, 60_001, dtype=np.float32)
    return np.concatenate([values[np.isfinite(values)], dense, np.linspace(-110, 95, 20_001, dtype=np.float32)])


def ulp_errors(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance from the exact value in units of the last place of the nearest float32."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    unit = np.spacing(np.abs(rounded)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(same, 0, np.abs(result.astype(np.float64) - exact) / unit)


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("op", FUNCTIONS)
def test_error_stays_within_the_stated_ulp(op, level):
    exact, limit = FUNCTIONS[op]
    x = arguments()
    if op == "Log":
        x = np.abs(x)
    with np.errstate(all="ignore"):
        errors = ulp_errors(run(op, x, level), exact(x.astype(np.float64)))
    worst = int(errors.argmax())
    assert errors[worst] <= limit, f"{op}({x[worst]!r}) is {errors[worst]:.2f} ulp off"


@pytest.mark.parametrize("level", available_levels())
def test_infinities_and_nan_come_out_as_in_ieee_arithmetic(level):
    x = np.array([np.inf, -np.inf, np.nan, 0, -0.0] * 5, np.float32)
    expected = {
        "Exp": [np.inf, 0, np.nan, 1, 1],
        "Log": [np.inf, np.nan, np.nan, -np.inf, -np.inf],
        "Tanh": [1, -1, np.nan, 0, -0.0],
        "Sigmoid": [1, 0, np.nan, 0.5, 0.5],
        "Erf": [1, -1, np.nan, 0, -0.0],
    }
    for op, values in expected.items():
        result = run(op, x, level)
        np.testing.assert_array_equal(result, np.array(values * 5, np.float32))
        if op in ("Tanh", "Erf"):
            assert list(np.signbit(result[3:5])) == [False, True]
