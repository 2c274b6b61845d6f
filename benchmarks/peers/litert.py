"""LiteRT with its XNNPACK delegate, with models converted by onnx2tf.

onnx2tf pins NumPy, ONNX and TensorFlow, so it lives in an environment of its own: the variable ``ONNX2TF`` names its
executable.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks.peers.job import Job, Runner, Unsupported, converted, run_converter


def runner(job: Job) -> Runner:
    """An interpreter in float32; its pictures are channels-last, which is done before the clock starts."""
    from ai_edge_litert.interpreter import Interpreter

    onnx2tf = os.environ.get("ONNX2TF")
    if not onnx2tf:
        raise Unsupported("the variable ONNX2TF does not name its converter")
    folder = converted(job, "onnx2tf", lambda folder: _convert(onnx2tf, job, folder))
    interpreter = Interpreter(str(folder / "model_float32.tflite"), num_threads=job.threads)
    feeds = {name: _channels_last(array) for name, array in job.feeds.items()}
    inputs = {}
    for detail in interpreter.get_input_details():
        name = detail["name"].removeprefix("serving_default_").partition(":")[0]
        inputs[detail["index"]] = feeds[name]
        interpreter.resize_tensor_input(detail["index"], feeds[name].shape)
    interpreter.allocate_tensors()
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def run() -> list[np.ndarray]:
        for index, array in inputs.items():
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [_channels_first(interpreter.get_tensor(index)) for index in outputs]

    return run


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def _channels_first(array: np.ndarray) -> np.ndarray:
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


def _convert(onnx2tf: str, job: Job, folder: Path) -> None:
    import onnx

    model = onnx.load(job.model)
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, job.feeds[value.name].shape, strict=True):
            dim.dim_value = size
    onnx.save(model, folder / "model.onnx")
    # The pictures that onnx2tf compares its result on; it would fetch them from the network.
    pictures = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", pictures)
    command = [onnx2tf, "-i", "model.onnx", "-o", ".", "--not_use_onnxsim", "--non_verbose"]
    run_converter(command, folder, {"TF_ENABLE_ONEDNN_OPTS": "0"})
