"""How differences between outputs are measured and judged."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgeinfer
from edgeinfer.tools.convert_check import Difference, compare, differences

EPSILON = float(np.finfo(np.float32).eps)


def test_difference_is_relative_to_the_range():
    assert differences(np.array([0.0, 2.0, 4.5]), np.array([0.0, 2.0, 4.0])) == (0.5, 0.125)


def test_equal_infinities_and_nans_are_no_difference():
    values = np.array([np.inf, -np.inf, np.nan, 1.0])
    assert differences(values, values) == (0.0, 0.0)


def test_a_nan_or_infinity_on_one_side_is_infinite():
    for wrong in (np.nan, np.inf):
        assert differences(np.array([0.0, wrong]), np.array([0.0, 1.0])) == (np.inf, np.inf)


def test_a_difference_exceeds_if_it_is_more_than_the_limit_and_than_rounding():
    assert Difference("y", largest=2e-3, relative=2e-3, rounding=4e-7).exceeds(1e-3)
    assert not Difference("y", largest=5e-4, relative=5e-4, rounding=4e-7).exceeds(1e-3)
    assert not Difference("y", largest=1e-7, relative=5e-2, rounding=4e-7).exceeds(1e-3)
    assert Difference("y", largest=1e-7, relative=5e-2, rounding=0.0).exceeds(1e-3)
    assert Difference("y", largest=np.inf, relative=np.inf, rounding=4e-7).exceeds(1e-3)


def _model(tmp_path, name: str, operator: str, shift: float):
    """z = reshape(operator(x + shift)) in a file."""
    nodes = [
        helper.make_node("Add", ["x", "shift"], ["moved"]),
        helper.make_node(operator, ["moved"], ["y"]),
        helper.make_node("Reshape", ["y", "shape"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [4096])],
        [
            onnx.numpy_helper.from_array(np.float32(shift), "shift"),
            onnx.numpy_helper.from_array(np.array([4096]), "shape"),
        ],
    )
    path = tmp_path / name
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def _compare(tmp_path, operator: str, original_shift: float, converted_shift: float) -> Difference:
    original = _model(tmp_path, "original.onnx", operator, original_shift)
    edgeinfer.convert(_model(tmp_path, "other.onnx", operator, converted_shift)).save(tmp_path / "other.edge")
    (difference,) = compare(original, tmp_path / "other.edge", [], {}).outputs
    return difference


@pytest.mark.parametrize(("operator", "units"), [("Sigmoid", 4), ("Tanh", 8), ("Softmax", 4), ("Exp", 0)])
def test_rounding_comes_from_the_bounds_of_the_operator_behind_the_output(tmp_path, operator, units):
    difference = _compare(tmp_path, operator, 0.0, 0.0)
    assert difference.rounding == units * EPSILON
    assert not difference.exceeds(1e-3)


def test_tiny_values_of_a_sigmoid_may_be_off_by_rounding_alone(tmp_path):
    # ONNX Runtime's Sigmoid gives 0 or 1.2e-7 here, for values between 1e-7 and 4e-7.
    assert not _compare(tmp_path, "Sigmoid", -16.0, -16.0).exceeds(1e-3)
    assert _compare(tmp_path, "Sigmoid", -10.0, -10.1).exceeds(1e-3)
    assert _compare(tmp_path, "Exp", -16.0, -16.1).exceeds(1e-3)
