"""Two models in one program, and the description of quantized inputs and outputs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgeinfer
from edgeinfer.cli import main
from edgeinfer.codegen.targets import target_of_level
from edgeinfer.runtime.cpu import cpu_level

HOST = target_of_level(cpu_level()).name

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include "first.h"
#include "second.h"

int main(void) {
    unsigned char x[FIRST_INPUT_0_BYTES] = {7, 130, 255, 0}, y[4], z[4];
    const void *inputs[] = {x};
    void *block = malloc(FIRST_MEMORY_SIZE(1)), *other = malloc(SECOND_MEMORY_SIZE(1)), *outputs[] = {y};
    if (first_init(block, FIRST_MEMORY_SIZE(1), 1) || second_init(other, SECOND_MEMORY_SIZE(1), 1)) return 1;
    if (first_run(other, inputs, outputs) != EDGEINFER_STATE) return 2;
    if (first_run(block, inputs, outputs)) return 3;
    outputs[0] = z;
    if (second_run(other, inputs, outputs)) return 4;
    for (int i = 0; i < 4; i++) printf("%d %d ", y[i], z[i]);
    const edgeinfer_tensor *in = first_input(0), *out = second_output(0);
    printf("%s %d %g %d %s %g %d", in->name, in->dtype == EDGEINFER_UINT8, in->scale, (int)in->zero_point, out->name,
           out->scale, (int)out->zero_point);
    if (first_input(1) || first_output(1) || first_input(-1) || first_abi() != EDGEINFER_BUNDLE_ABI) return 5;
    free(block), free(other);
    return 0;
}
"""


def requantizer(path: Path, scale: float, zero_point: int) -> Path:
    """y = QuantizeLinear(Relu(DequantizeLinear(x, 0.25, 3)), scale, zero_point) over bytes."""
    constants = {
        "s": np.float32(0.25),
        "z": np.uint8(3),
        "ys": np.float32(scale),
        "yz": np.uint8(zero_point),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "ys", "yz"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "requantize",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [4])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_two_models_link_into_one_program_and_tell_their_quantization(tmp_path):
    models = {
        "first": requantizer(tmp_path / "a.onnx", 0.25, 3),
        "second": requantizer(tmp_path / "b.onnx", 0.5, 10),
    }
    wanted = []
    for name, path in models.items():
        arguments = ["export", str(path), "--target", HOST, "--name", name, "-o", str(tmp_path)]
        assert main(arguments) == 0
        with edgeinfer.load(path) as session:
            wanted.append(session(np.array([7, 130, 255, 0], np.uint8)))
    (tmp_path / "main.c").write_text(PROGRAM)
    subprocess.run(
        ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "main.c", "first.o", "second.o", "-o", "main"],
        cwd=tmp_path,
        check=True,
    )
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    numbers = [str(value) for pair in zip(*wanted, strict=True) for value in pair]
    assert done.stdout.split() == [*numbers, "x", "1", "0.25", "3", "y", "0.5", "10"]
