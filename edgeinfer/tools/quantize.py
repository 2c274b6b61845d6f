"""Quantizing a model file: float in, 8-bit integers out, with a report."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.format import read_edge
from edgeinfer.graph import Graph
from edgeinfer.quantize import Goal, PostTraining, Quantized
from edgeinfer.quantize.backend import Progress, silent
from edgeinfer.quantize.metrics import (
    Outputs,
    agreement,
    cosine,
    expected_agreement,
    peak_signal_to_noise,
    signal_to_noise,
    worst_psnr,
)
from edgeinfer.tools.session_backend import SessionBackend


def read_model(path: Path) -> Graph:
    """The graph of an ``.edge`` or ``.onnx`` file."""
    if path.suffix != ".onnx":
        return read_edge(path)
    graph: Graph = importlib.import_module("edgeinfer").convert(path)
    return graph


def make_goal(psnr: float | None, top1: float | None, metric: str | None, least: float | None) -> Goal | None:
    """The goal that the command line's options name; None if they name none.

    Args:
        psnr: least PSNR of all outputs of all samples, in dB.
        top1: least share of outputs whose largest element is the same, to be expected on data that were not seen.
        metric: a Python function ``FILE.py:NAME`` or ``MODULE:NAME``; it takes two lists of dictionaries of arrays,
            the float model's outputs for all samples and the quantized model's, and returns a number.
        least: the least value of that function.

    Raises:
        QuantizationError: if there are several, or the function cannot be found.
    """
    goals = []
    if psnr is not None:
        goals.append(Goal("PSNR", worst_psnr, psnr))
    if top1 is not None:
        goals.append(Goal("agreement", agreement, top1, expected_agreement))
    if metric is not None:
        if least is None:
            raise QuantizationError("say with --least which value of the metric will do")
        goals.append(Goal(metric, _function(metric), least))
    if len(goals) > 1:
        raise QuantizationError("name one goal: --psnr, --agreement or --metric")
    return goals[0] if goals else None


def _function(text: str) -> Callable[[Sequence[Outputs], Sequence[Outputs]], float]:
    place, separator, name = text.rpartition(":")
    if not separator:
        raise QuantizationError(f"'{text}' is no function: write FILE.py:NAME or MODULE:NAME")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        function: Callable[[Sequence[Outputs], Sequence[Outputs]], float] = getattr(module, name)
    except (ImportError, OSError, SyntaxError, AttributeError) as error:
        raise QuantizationError(f"the metric {text} cannot be loaded: {error}") from error
    return function


def _load_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class OutputError:
    """How far one output is from the float model's, over all samples: dB, dB, cosine, largest difference."""

    name: str
    psnr: float
    signal_to_noise: float
    cosine: float
    largest: float


def output_errors(quantized: Quantized) -> list[OutputError]:
    """The errors of all outputs."""
    rows = []
    for name in quantized.graph.outputs:
        expected = np.concatenate([np.ravel(outputs[name]).astype(np.float64) for outputs in quantized.expected])
        found = np.concatenate([np.ravel(outputs[name]).astype(np.float64) for outputs in quantized.outputs])
        rows.append(
            OutputError(
                name, peak_signal_to_noise(expected, found), signal_to_noise(expected, found), cosine(expected, found),
                float(np.abs(expected - found).max(initial=0)),
            )
        )  # fmt: skip
    return rows


def quantize(
    graph: Graph,
    samples: Sequence[dict[str, np.ndarray]],
    method: str = "mse",
    keep_float: Sequence[str] = (),
    goal: Goal | None = None,
    explain: bool = False,
    keep_slow: bool = False,
    threads: int | str = "auto",
    progress: Progress = silent,
) -> Quantized:
    """Quantize a float model to 8 bits.

    Args:
        graph: the model, as ``edgeinfer.convert`` or ``read_edge`` gives it.
        samples: calibration data: arrays by input name.
        method: how ranges of activations are chosen: ``minmax``, ``percentile``, ``mse`` or ``entropy``.
        keep_float: names of layers that stay float.
        goal: what must hold; layers stay float until it does.
        explain: measure the damage that every layer does alone.
        keep_slow: run layers on integers even where float is faster on this machine.
        threads: threads for calibration.
        progress: is told what is being done.

    Raises:
        QuantizationError: if data or options do not fit the model, or the goal cannot be held.
    """
    training = PostTraining(SessionBackend(threads), samples, method, keep_float, goal, explain, keep_slow, progress)
    return training.run(graph)
