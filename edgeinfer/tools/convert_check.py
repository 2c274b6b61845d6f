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
from edgeinfer.ops import run_graph
from edgeinfer.runtime.session import Port
from edgeinfer.tools.bench import random_inputs
from edgeinfer.tools.images import read_input
from edgeinfer.tools.inspect import default_shapes


@dataclass(frozen=True)
class Comparison:
    """Differences of all outputs: (name, largest difference, relative to the range of the original's output)."""

    oracle: str
    inputs: str
    rows: list[tuple[str, float, float]]


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
    rows = []
    for name, result in results.items():
        rows.append((name, *differences(result, expected[name])))
    return Comparison(oracle, "given inputs" if texts else "random inputs", rows)


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
