"""Operators of old opsets compute what ONNX Runtime computes for them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.onnx import import_model
from edgeinfer.errors import UnsupportedOperatorError
from edgeinfer.ops import run_graph

PICTURE = (2, 4, 6, 8)


def old_model(op, opset, shape, constants, attributes, outputs=1):
    names = [f"c{index}" for index in range(len(constants))]
    results = [f"y{index}" for index in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], results, name="node", **attributes)],
        "old",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, shape),
            # Before IR version 4 initializers had to be inputs too.
            *(
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                for name, array in zip(names, constants, strict=True)
            ),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
        [numpy_helper.from_array(array, name) for name, array in zip(names, constants, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def values(*shape):
    return np.random.default_rng(7).uniform(0.5, 1.5, shape).astype(np.float32)


def index(*numbers):
    return np.array(numbers, np.int64)


CASES = [
    ("Clip", 6, PICTURE, [], {"min": -0.5, "max": 0.5}),
    ("Clip", 6, PICTURE, [], {"max": 0.5}),
    ("Softmax", 11, (2, 3, 4), [], {}),
    ("Softmax", 11, (2, 3, 4), [], {"axis": 2}),
    ("LogSoftmax", 11, (2, 3, 4), [], {"axis": 0}),
    ("PRelu", 7, PICTURE, [values(4, 1, 1)], {}),
    ("Add", 7, PICTURE, [values(8)], {}),
    ("BatchNormalization", 7, PICTURE, [values(4)] * 4, {"epsilon": 1e-3, "momentum": 0.8}),
    ("BatchNormalization", 14, PICTURE, [values(4)] * 4, {}),
    ("GroupNormalization", 18, PICTURE, [values(2), values(2)], {"num_groups": 2}),
    ("Dropout", 7, PICTURE, [], {"ratio": 0.3}),
    ("Dropout", 10, PICTURE, [], {}),
    ("ReduceSum", 11, PICTURE, [], {"axes": [1, -1], "keepdims": 0}),
    *[
        (op, 13, PICTURE, [], {"axes": [2]})
        for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare")
    ],
    ("ReduceLogSumExp", 13, PICTURE, [], {}),
    ("Upsample", 7, PICTURE, [], {"scales": [1.0, 1.0, 2.0, 3.0], "mode": "nearest"}),
    ("Upsample", 9, PICTURE, [np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
    ("Resize", 10, PICTURE, [np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    ("Resize", 10, PICTURE, [np.array([1, 1, 0.5, 0.5], np.float32)], {"mode": "nearest"}),
    ("Squeeze", 11, (1, 4, 1), [], {"axes": [0]}),
    ("Unsqueeze", 11, PICTURE, [], {"axes": [0, 3]}),
    ("Slice", 9, PICTURE, [], {"starts": [1, -5], "ends": [3, 100], "axes": [1, 3]}),
    ("Pad", 10, PICTURE, [], {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "value": 0.25}),
    ("Pad", 10, PICTURE, [], {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "mode": "reflect"}),
]


def check(model, shape):
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})
    found = run_graph(import_model(model), {"x": x})
    assert len(found) == len(expected)
    for array, (name, result) in zip(expected, found.items(), strict=True):
        assert result.shape == array.shape, name
        np.testing.assert_allclose(result, array, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("op", "opset", "shape", "constants", "attributes"), CASES)
def test_an_old_operator_computes_what_onnx_runtime_computes(op, opset, shape, constants, attributes):
    check(old_model(op, opset, shape, constants, attributes), shape)


@pytest.mark.parametrize(("opset", "attributes"), [(11, {"split": [1, 3]}), (11, {}), (13, {})])
def test_an_old_split_computes_what_onnx_runtime_computes(opset, attributes):
    check(old_model("Split", opset, PICTURE, [], {"axis": 1, **attributes}, outputs=2), PICTURE)


def test_the_broadcasting_of_opset_six_aligns_to_an_axis():
    bias = values(4)
    model = old_model("Add", 6, PICTURE, [bias], {"broadcast": 1, "axis": 1})
    x = np.random.default_rng(3).standard_normal(PICTURE).astype(np.float32)
    (found,) = run_graph(import_model(model), {"x": x}).values()
    np.testing.assert_array_equal(found, x + bias.reshape(4, 1, 1))


def test_the_slope_of_an_old_prelu_belongs_to_the_channels():
    slope = values(4)
    x = np.random.default_rng(3).standard_normal(PICTURE).astype(np.float32)
    (found,) = run_graph(import_model(old_model("PRelu", 6, PICTURE, [slope], {})), {"x": x}).values()
    np.testing.assert_allclose(found, np.where(x < 0, x * slope.reshape(4, 1, 1), x), rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "opset", "constants", "attributes", "reason"),
    [
        ("BatchNormalization", 7, [values(4)] * 4, {"spatial": 0}, "'spatial' = 0"),
        ("BatchNormalization", 14, [values(4)] * 4, {"training_mode": 1}, "export the model for inference"),
        ("Resize", 10, [np.array([1, 1, 2, 0.5], np.float32)], {}, "enlarges one axis and shrinks another"),
    ],
)
def test_what_has_no_newest_form_is_refused(op, opset, constants, attributes, reason):
    with pytest.raises(UnsupportedOperatorError, match=f"operator {op} .opset {opset}.: node 'node': .*{reason}"):
        import_model(old_model(op, opset, PICTURE, constants, attributes))
