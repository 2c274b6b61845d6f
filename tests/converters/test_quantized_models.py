"""Models that ONNX Runtime's quantizer made run as ONNX Runtime runs them: QDQ and QOperator, in all its settings."""

from __future__ import annotations

import itertools
import platform

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import edgeinfer
from edgeinfer.runtime.session import Session

U8, S8, U16, S16 = QuantType.QUInt8, QuantType.QInt8, QuantType.QUInt16, QuantType.QInt16
TYPES = {"U8S8": (U8, S8), "S8S8": (S8, S8), "U8U8": (U8, U8)}


def float_model() -> onnx.ModelProto:
    """Convolutions (plain, depthwise, strided), a residual, pools, concatenation, an activation, a classifier."""
    random = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        fan_in = max(1, int(np.prod(shape[1:])))
        return numpy_helper.from_array((random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32), name)

    initializers = [
        constant("w1", 16, 3, 3, 3), constant("b1", 16), constant("w2", 16, 1, 3, 3), constant("b2", 16),
        constant("w3", 16, 16, 1, 1), constant("w4", 24, 32, 3, 3), constant("b4", 24), constant("w5", 10, 24),
        constant("b5", 10),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1] * 4, group=16),
        helper.make_node("Sigmoid", ["c2"], ["s2"], "sigmoid2"),
        helper.make_node("Conv", ["s2", "w3"], ["c3"], "conv3"),
        helper.make_node("Add", ["c3", "r1"], ["a3"], "add3"),
        helper.make_node("Concat", ["a3", "r1"], ["k3"], "concat3", axis=1),
        helper.make_node("MaxPool", ["k3"], ["m3"], "pool3", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["m3", "w4", "b4"], ["c4"], "conv4", strides=[2, 2], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c4"], ["g4"], "average4"),
        helper.make_node("Flatten", ["g4"], ["f4"], "flat4"),
        helper.make_node("Gemm", ["f4", "w5", "b5"], ["y"], "gemm5", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 20, 20])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])], initializers,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Data(CalibrationDataReader):
    """Eight random pictures."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._items = iter([{"x": random.random((1, 3, 20, 20), np.float32)} for _ in range(8)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._items, None)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("float") / "net.onnx"
    onnx.save(float_model(), path)
    return path


def run_both(path) -> tuple[np.ndarray, np.ndarray, Session]:
    """The outputs of 20 pictures by ONNX Runtime and by us."""
    random = np.random.default_rng(2)
    # ONNX Runtime's optimiser changes how it rounds from version to version: its plain form is what models mean.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    oracle = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    session = Session(edgeinfer.convert(path), threads=1)
    pictures = [random.random((1, 3, 20, 20), np.float32) for _ in range(20)]
    expected = np.concatenate([oracle.run(None, {"x": picture})[0] for picture in pictures])
    found = np.concatenate([session.run({"x": picture})["y"] for picture in pictures])
    return expected, found, session


@pytest.mark.parametrize(
    ("form", "types", "per_channel", "symmetric"),
    list(itertools.product(QuantFormat, TYPES, [False, True], [False, True])),
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_static_quantization_in_all_settings(model_file, tmp_path, form, types, per_channel, symmetric):
    path = tmp_path / "quantized.onnx"
    activation, weight = TYPES[types]
    # On CPUs without VNNI, ONNX Runtime's kernels for uint8 times int8 saturate sums of two products in 16 bits: only
    # weights of 7 bits make it an oracle there. It stores weights for channels as int8 in any case. QDQ models are
    # computed in float, so whole weights are tested by those.
    saturates = form is QuantFormat.QOperator and activation is U8 and (weight is S8 or per_channel)
    quantize_static(
        model_file, path, Data(), quant_format=form, per_channel=per_channel, activation_type=activation,
        weight_type=weight, reduce_range=saturates,
        extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": symmetric},
    )  # fmt: skip
    expected, found, session = run_both(path)
    steps = np.unique(np.diff(np.unique(expected)).round(7))
    step = steps[steps > 0].min()
    assert np.abs(found - expected).max() <= 1.5 * step
    assert (np.abs(found - expected) < 0.01 * step).mean() >= 0.999
    assert [host.reason for host in session.plan({"x": (1, 3, 20, 20)}).host_steps()] == []


@pytest.mark.parametrize("types", TYPES)
def test_transposed_convolution_and_softmax(tmp_path, types):
    random = np.random.default_rng(3)
    weights = [
        numpy_helper.from_array((random.standard_normal(shape) / 5).astype(np.float32), name)
        for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (8, 6, 2, 2)), ("b2", (6,)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("ConvTranspose", ["c", "w2", "b2"], ["t"], "up", strides=[2, 2]),
        helper.make_node("Relu", ["t"], ["r"], "relu"),
        helper.make_node("Softmax", ["r"], ["y"], "softmax", axis=1),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3, 20, 20]), ("y", None))]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    activation, weight = TYPES[types]
    quantize_static(
        tmp_path / "net.onnx", tmp_path / "quantized.onnx", Data(), quant_format=QuantFormat.QDQ,
        activation_type=activation, weight_type=weight,
    )  # fmt: skip
    expected, found, session = run_both(tmp_path / "quantized.onnx")
    steps = np.unique(np.diff(np.unique(expected)).round(7))
    step = steps[steps > 0].min()
    # A byte that is rounded otherwise in front of the softmax moves its result by more than a step.
    assert np.abs(found - expected).max() <= 4 * step
    assert (np.abs(found - expected) < 0.01 * step).mean() >= 0.99
    assert {call.op for call in session.profile({"x": np.zeros((1, 3, 20, 20), np.float32)}) if call.kernel} >= {
        "QConvTranspose", "QSoftmax",
    }  # fmt: skip
    assert session.plan({"x": (1, 3, 20, 20)}).host_steps() == []


@pytest.mark.parametrize("types", [(U16, S8), (S16, S8), (U16, S16)])
def test_sixteen_bits(model_file, tmp_path, types):
    path = tmp_path / "quantized.onnx"
    quantize_static(
        model_file, path, Data(), quant_format=QuantFormat.QDQ, activation_type=types[0], weight_type=types[1],
        extra_options={"UseQDQContribOps": True},
    )  # fmt: skip
    expected, found, _ = run_both(path)
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.ptp(expected))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("weight", [U8, S8])
def test_dynamic_quantization(model_file, tmp_path, weight, per_channel):
    path = tmp_path / "quantized.onnx"
    # Seven bits: see above.
    quantize_dynamic(model_file, path, weight_type=weight, per_channel=per_channel, reduce_range=True)
    expected, found, session = run_both(path)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.ptp(expected))
    assert session.plan({"x": (1, 3, 20, 20)}).host_steps() == []


@pytest.mark.parametrize(
    "scales",
    [(0, 0.01, 0.01), (0.01, 0, 0.01), (0.01, 0.01, 0), (1e30, 1e30, 1e30), (1e-30, 1e-30, 1e30), (np.inf, 0.01, 0.01),
     (0.01, np.nan, 0.01), (0.01, 0.01, np.inf), (-0.01, 0.01, 0.01), (0.01, 0.01, 1e-38)],
)  # fmt: skip
def test_scales_that_make_no_sense_give_what_the_operators_say(scales):
    constants = [("sx", scales[0], np.float32), ("sw", scales[1], np.float32), ("sy", scales[2], np.float32),
                 ("zero", 0, np.int8), ("middle", 128, np.uint8), ("w", np.ones((2, 3, 1, 1)), np.int8)]  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "middle"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "middle"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zero"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "sy", "middle"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "sy", "middle"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3, 4, 4]), ("y", None))]
    initializers = [numpy_helper.from_array(np.array(value, dtype), name) for name, value, dtype in constants]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)
    oracle = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (expected,) = oracle.run(None, {"x": x})
    with Session(edgeinfer.convert(model), threads=1) as session:
        np.testing.assert_allclose(session.run({"x": x})["y"], expected, rtol=1e-5)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="ONNX Runtime adds up otherwise elsewhere")
@pytest.mark.parametrize("shape", [(1, 32, 64, 60), (2, 5, 7, 9), (3, 3, 6, 5), (1, 66, 33, 31), (1, 4, 1, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["U8", "S8"])
def test_normalised_integers_are_those_of_onnx_runtime(tmp_path, shape, dtype):
    random = np.random.default_rng(4)
    channels, zero = shape[1], np.array(100 if dtype is np.uint8 else -20, dtype)
    values = {
        "xs": np.array(0.013, np.float32), "rs": np.array(0.02, np.float32), "ys": np.array(0.031, np.float32),
        "zero": zero, "gamma": random.standard_normal(channels, np.float32),
        "beta": random.standard_normal(channels, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "zero"], ["xd"]),
        helper.make_node("QuantizeLinear", ["r", "rs", "zero"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "rs", "zero"], ["rd"]),
        helper.make_node("InstanceNormalization", ["xd", "gamma", "beta"], ["n"]),
        helper.make_node("QuantizeLinear", ["n", "ys", "zero"], ["plain"]),
        helper.make_node("InstanceNormalization", ["xd", "beta", "gamma"], ["m"]),
        helper.make_node("Add", ["m", "rd"], ["a"]),
        helper.make_node("Relu", ["a"], ["relu"]),
        helper.make_node("QuantizeLinear", ["relu", "ys", "zero"], ["added"]),
    ]
    integers = helper.np_dtype_to_tensor_dtype(zero.dtype)
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xr"],
        [helper.make_tensor_value_info(name, integers, shape) for name in ("plain", "added")],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )  # fmt: skip
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    feeds = {name: 3 * random.random(shape, np.float32) - np.float32(1.2) for name in "xr"}
    oracle = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with Session(edgeinfer.convert(path), threads=2) as session:
        found = session.run(feeds)
        assert [step.op for step in session.profile(feeds)].count("QInstanceNormalization") >= 2
    for name, expected in zip(("plain", "added"), oracle.run(None, feeds), strict=True):
        np.testing.assert_array_equal(found[name], expected)
