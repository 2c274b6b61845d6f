"""Comparing a converted model with its original."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer.errors import InputError
from edgeinfer.format import read_edge
from edgeinfer.graph import Graph
from edgeinfer.ops import run_graph
from edgeinfer.runtime.port import Port
from edgeinfer.tools.bench import random_inputs
from edgeinfer.tools.images import read_input
from edgeinfer.tools.inspect import default_shapes

# Operators and fused activations with bounds: how far apart their largest and least values are.
_EXTENTS = {"Sigmoid": 1.0, "HardSigmoid": 1.0, "Softmax": 1.0, "Tanh": 2.0}
_MOVES = ("Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
# Runtimes differ by a few units in the last place of the largest value that such an operator may have, whatever the
# value: ONNX Runtime's Sigmoid of -15 is 0 or 1e-7 beside the true 3e-7.
_UNITS = 4


@dataclass(frozen=True)
class Difference:
    """How far an output is from the original's.

    Attributes:
        name: the output.
        largest: the largest difference.
        relative: the same relative to the range of the original's output.
        rounding: a difference up to this is float32's rounding, whatever the range; 0 for outputs without bounds.
    """

    name: str
    largest: float
    relative: float
    rounding: float

    def exceeds(self, limit: float) -> bool:
        """Whether the relative difference is above a limit, and more than rounding."""
        return self.relative > limit and self.largest > self.rounding


@dataclass(frozen=True)
class Comparison:
    """Differences of all outputs, what made the expected ones, and of which inputs."""

    oracle: str
    inputs: str
    outputs: list[Difference]


def gather_inputs(ports: Sequence[Port], texts: list[str]) -> dict[str, np.ndarray]:
    """Arrays for inputs from texts such as ``image=photo.png``.

    Raises:
        InputError: if a text is not of this form or names no input.
    """
    by_name = {port.name: port for port in ports}
    feeds = {}
    for text in texts:
        name, separator, file = text.partition("=")
        if not separator:
            raise InputError(f"'{text}' is not an input: write NAME=FILE")
        if name not in by_name:
            raise InputError(f"there is no input '{name}'; the inputs are {list(by_name)}")
        if name in feeds:
            raise InputError(f"input '{name}' is given twice")
        feeds[name] = read_input(by_name[name], Path(file))
    return feeds


def compare(original: Path, converted: Path, texts: list[str], shapes: Mapping[str, tuple[int, ...]]) -> Comparison:
    """Run both models on given inputs, random where none are given.

    The original runs by ONNX Runtime if it is installed, else by the NumPy references of the unfused graph.
    """
    with edgeinfer.load(converted) as session:
        feeds = gather_inputs(session.inputs, texts)
        given = {name: array.shape for name, array in feeds.items()}
        chosen = default_shapes(session.inputs, {**shapes, **given})
        feeds = {**random_inputs(session.inputs, chosen), **feeds}
        results = session.run(feeds)
    oracle, expected = _original(original, feeds, list(results))
    graph = read_edge(converted)
    outputs = [
        Difference(name, *differences(result, expected[name]), output_rounding(graph, name))
        for name, result in results.items()
    ]
    return Comparison(oracle, "given inputs" if texts else "random inputs", outputs)


def output_rounding(graph: Graph, output: str) -> float:
    """How far apart two float32 runtimes may be on an output, given the bounds of the operator that computes it.

    Returns:
        An absolute difference, 0 if the operator has no bounds.
    """
    makers = {made: node for node in graph.nodes for made in node.outputs}
    node = makers.get(output)
    while node is not None and node.op in _MOVES:
        node = makers.get(node.inputs[0])
    if node is None:
        return 0.0
    extent = _EXTENTS.get(str(node.attributes.get("activation", node.op)), 0.0)
    return _UNITS * extent * float(np.finfo(np.float32).eps)


def differences(result: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest difference, and the same relative to the range of the finite expected values.

    Both are infinite where only one of two elements is NaN or they are different infinities.
    """
    left, right = result.astype(np.float64), expected.astype(np.float64)
    if not left.size:
        return 0.0, 0.0
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(left - right))
    largest = float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max())
    finite = right[np.isfinite(right)]
    extent = float(np.ptp(finite)) if finite.size else 0.0
    return largest, largest / max(extent, 1e-12)


def _original(path: Path, feeds: Mapping[str, np.ndarray], outputs: list[str]) -> tuple[str, dict[str, np.ndarray]]:
    if importlib.util.find_spec("onnxruntime"):
        runtime = importlib.import_module("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return "ONNX Runtime", dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))
    graph = importlib.import_module("converters.onnx").import_model(path)
    return "the NumPy references", run_graph(graph, feeds)
