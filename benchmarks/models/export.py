"""``python -m benchmarks.models.export [NAME …]``: write networks' graphs, without weights, to tests/data/models.

Needs the extra ``train``. Without names, all are written. Each network is exported by both exporters of PyTorch
(``NAME.onnx`` by the present one, ``NAME.script.onnx`` by the older TorchScript one), with open height and width.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnx
import torch

from benchmarks.models.networks import NETWORKS
from benchmarks.models.weights import strip_weights

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "data" / "models"
SIZE = 224


def export(network: torch.nn.Module, dynamo: bool) -> onnx.ModelProto:
    """One network, in inference mode, as an ONNX model."""
    image = torch.rand(1, 3, SIZE, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if dynamo:
            size = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
            torch.onnx.export(
                network, (image,), path, dynamo=True, external_data=False, input_names=["image"],
                output_names=["output"], dynamic_shapes=(size,), verbose=False,
            )  # fmt: skip
        else:
            torch.onnx.export(
                network, (image,), path, dynamo=False, opset_version=11, input_names=["image"],
                output_names=["output"], dynamic_axes={"image": {2: "height", 3: "width"}},
            )  # fmt: skip
        return onnx.load(path)


def main() -> None:
    """Export the networks asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(NETWORKS), help=", ".join(NETWORKS))
    names = parser.parse_args().names
    if unknown := sorted(set(names) - NETWORKS.keys()):
        parser.error(f"unknown network {unknown[0]}; known are {', '.join(NETWORKS)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.manual_seed(0)
        for dynamo, suffix in ((True, ""), (False, ".script")):
            model = strip_weights(export(NETWORKS[name]().eval(), dynamo))
            path = FOLDER / f"{name}{suffix}.onnx"
            path.write_bytes(model.SerializeToString(deterministic=True))
            print(f"{path.name}: {path.stat().st_size} bytes, {len(model.graph.node)} nodes")


if __name__ == "__main__":
    main()
