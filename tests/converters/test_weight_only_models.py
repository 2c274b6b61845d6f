"""Models whose weights alone are integers: ONNX's blocks of 4 and 8 bits, and ONNX Runtime's MatMulNBits."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import converters
import edgeinfer
from edgeinfer.errors import ConversionError, UnsupportedOperatorError
from edgeinfer.runtime.session import Session

ROWS, COLUMNS = 100, 48


def model_of(nodes, initializers, domain="") -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", ROWS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", COLUMNS])], initializers,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def check_like_onnx_runtime(model: onnx.ModelProto) -> edgeinfer.Graph:
    graph = converters.convert(model)[0]
    x = np.random.default_rng(0).standard_normal((3, ROWS)).astype(np.float32)
    oracle = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = oracle.run(None, {"x": x})
    session = Session(graph, threads=1)
    np.testing.assert_allclose(session.run({"x": x})["y"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert session.plan({"x": (3, ROWS)}).host_steps() == []
    return graph


def packed_model(bits: int, block: int, with_zero_points: bool, with_bias: bool, **changes: object) -> onnx.ModelProto:
    random = np.random.default_rng(1)
    blocks = -(-ROWS // block)
    bytes_of_zeros = -(-blocks * bits // 8)
    arrays = {
        "b": random.integers(0, 256, (COLUMNS, blocks, block * bits // 8)).astype(np.uint8),
        "s": random.uniform(0.01, 0.02, (COLUMNS, blocks)).astype(np.float32),
        "z": random.integers(0, 256, (COLUMNS, bytes_of_zeros)).astype(np.uint8),
        "c": random.standard_normal(COLUMNS).astype(np.float32),
    }
    inputs = ["x", "b", "s", "z" if with_zero_points else "", "", "c" if with_bias else ""]
    while not inputs[-1]:
        inputs.pop()
    attributes = {"K": ROWS, "N": COLUMNS, "bits": bits, "block_size": block, **changes}
    node = helper.make_node("MatMulNBits", inputs, ["y"], "product", domain="com.microsoft", **attributes)
    kept = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name in inputs]
    return model_of([node], kept, "com.microsoft")


@pytest.mark.parametrize(
    ("bits", "block", "with_zero_points", "with_bias"),
    [*itertools.product([4], [16, 32, 64], [False, True], [False, True]), (8, 32, True, False)],
)
def test_packed_weights_of_onnx_runtime(bits, block, with_zero_points, with_bias):
    graph = check_like_onnx_runtime(packed_model(bits, block, with_zero_points, with_bias))
    assert sum(array.nbytes for array in graph.constants.values()) < 2 * ROWS * COLUMNS, "weights stay small"


def test_other_bits_are_refused_by_name():
    with pytest.raises(UnsupportedOperatorError, match="weights of 4 or 8 bits must be constant"):
        converters.convert(packed_model(2, 32, False, False))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("code", [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8])
def test_blocks_of_onnx(code, transposed):
    random = np.random.default_rng(2)
    low, high = {TensorProto.INT4: (-8, 8), TensorProto.UINT4: (0, 16), TensorProto.INT8: (-128, 128)}[code]
    shape, axis = ((COLUMNS, ROWS), 1) if transposed else ((ROWS, COLUMNS), 0)
    blocks = list(shape)
    blocks[axis] = 5
    integers = random.integers(low, high, shape)
    scales = random.uniform(0.01, 0.02, blocks).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=axis, block_size=20),
        helper.make_node("Gemm", ["x", "w"], ["y"], transB=int(transposed)),
    ]
    weights = helper.make_tensor("q", code, shape, integers.ravel().tolist())
    check_like_onnx_runtime(model_of(nodes, [weights, numpy_helper.from_array(scales, "s")]))


@pytest.mark.parametrize(("weights", "share"), [("float16", 0.5), ("int8", 0.27), ("int4", 0.15)])
def test_weights_are_stored_as_asked(tmp_path, weights, share):
    values = np.random.default_rng(3).standard_normal((ROWS * 8, COLUMNS * 8)).astype(np.float32)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [numpy_helper.from_array(values, "w")])
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = ROWS * 8
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = COLUMNS * 8
    x = np.random.default_rng(4).standard_normal((2, ROWS * 8)).astype(np.float32)
    results = []
    for form in ("float32", weights):
        converters.convert(model, weights=form)[0].save(tmp_path / f"{form}.edge")
        with edgeinfer.load(tmp_path / f"{form}.edge", 1) as session:
            results.append(session.run({"x": x})["y"])
    sizes = [(tmp_path / f"{form}.edge").stat().st_size for form in (weights, "float32")]
    assert sizes[0] / sizes[1] < share + 0.01
    noise = np.linalg.norm(results[1] - results[0]) / np.linalg.norm(results[0])
    assert 0 < noise < {"float16": 1e-3, "int8": 1e-2, "int4": 0.15}[weights]


def test_unknown_formats_of_weights_are_refused():
    with pytest.raises(ConversionError, match="'int3': choose one of float32, float16, int8, int4"):
        converters.convert(packed_model(4, 32, False, False), weights="int3")
