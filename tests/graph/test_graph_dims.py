"""Arithmetic with symbolic dimensions agrees with arithmetic on the numbers that the symbols stand for."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.graph import is_static
from edgeinfer.graph.dims import add, ceil_divide, floor_divide, multiply, product, unknown_dim

SIZES = {"h": 37, "w": 23, "n": 5}
# Each operation on dimensions with its exact counterpart on numbers.
OPERATIONS = {
    add: lambda left, right: left + right,
    multiply: lambda left, right: left * right,
    floor_divide: lambda left, right: left // right,
    ceil_divide: lambda left, right: -(-left // right),
}
STEPS = st.lists(
    st.tuples(st.sampled_from(list(OPERATIONS)), st.one_of(st.integers(1, 9), st.sampled_from(["h", "w"]))), max_size=5
)


def evaluated(dim):
    return dim if isinstance(dim, int) else eval(dim, {"ceil": math.ceil}, SIZES)


@given(st.sampled_from(["h", "w", "n", 7]), STEPS)
def test_expressions_have_the_value_of_their_operations(start, steps):
    dim, value = start, evaluated(start)
    for operation, operand in steps:
        dim, value = operation(dim, operand), OPERATIONS[operation](value, evaluated(operand))
    assert evaluated(dim) == value


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_summands_of_a_symbol_are_collected(first, second):
    assert add(add("h", first), second) == add("h", first + second)


@given(st.lists(st.integers(0, 9)))
def test_products_of_numbers_are_numbers(dims):
    assert product(dims) == math.prod(dims)


def test_neutral_operands_leave_a_symbol_as_it_is():
    assert [add("h", 0), add(0, "h"), multiply("h", 1), multiply(1, "h"), floor_divide("h", 1)] == ["h"] * 5
    assert multiply("h", 0) == 0
    assert ceil_divide("h", 1) == "h"


def test_only_integers_are_static():
    assert is_static((1, 2))
    assert is_static(())
    assert not is_static((1, "h"))
    assert not is_static(None)


def test_unknown_dimensions_differ():
    assert unknown_dim() != unknown_dim()
