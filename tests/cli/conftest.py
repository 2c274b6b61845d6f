"""A command line in this process, a tiny model and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.cli import main

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "multistyle26" / "multistyle26.edge"


@pytest.fixture
def command(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs ``edgeinfer ARGUMENTS``: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def shipped() -> Path:
    return SHIPPED


@pytest.fixture
def tiny_onnx(tmp_path) -> Path:
    """y = Relu(BatchNormalization(Conv(pad(x)))) on pictures of three channels."""
    random = np.random.default_rng(0)
    constants = {
        "w": random.standard_normal((4, 3, 3, 3), np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "scale": random.random(4, np.float32) + 1,
        "shift": random.random(4, np.float32),
        "mean": random.random(4, np.float32),
        "variance": random.random(4, np.float32) + 1,
    }
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["padded"], "pad", mode="reflect"),
        helper.make_node("Conv", ["padded", "w"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["y"], "relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, "h", "w"])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    path = tmp_path / "tiny.onnx"
    onnx.save(model, path)
    return path
