"""Two models side by side: which layer is where they part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, GraphView
from edgeinfer.quantize.insertion import dequantized_value
from edgeinfer.quantize.metrics import cosine, signal_to_noise
from edgeinfer.quantize.observation import with_outputs
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session
from edgeinfer.tools.samples import Sample

BINS = 40
PICTURE_RANK = 4
# A factor for each element fits fewer vectors than these too easily.
LEAST_VECTORS = 4
# A channel's factor that differs more from 1 does not come from rounding.
LARGEST_ROUNDING = 0.05


@dataclass(frozen=True)
class Variant:
    """A model and how it runs.

    Attributes:
        graph: the model.
        level: CPU level of its kernels, ``""`` for this machine's.
        precision: number format, see ``Session``.
    """

    graph: Graph
    level: str = ""
    precision: str = "float32"

    def session(self, graph: Graph) -> Session:
        """A session for a graph that runs as this model does."""
        kernels = kernels_for(self.level) if self.level else None
        return Session(graph, kernels=kernels, precision=self.precision)


@dataclass
class LayerDifference:
    """How far one layer's results are apart.

    Attributes:
        node: name of the node in both models; of an output, its name.
        op: the operators, ``Conv → QConv`` where they differ.
        scaled: whether the second model holds other multiples of the channels, as equalisation leaves them; all that
            follows is then without these factors.
        place: number of the node in the first model.
        signal_to_noise: dB, infinite where equal; over all samples, as all that follows.
        cosine: of the angle between the results.
        largest: largest difference.
        low: least result of both.
        high: greatest result of both.
        first: histogram of the first model's results, from low to high.
        second: histogram of the second's.
    """

    node: str
    op: str
    scaled: bool
    place: int
    signal_to_noise: float
    cosine: float
    largest: float
    low: float
    high: float
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)


def compare(first: Variant, second: Variant, samples: Sequence[Sample]) -> list[LayerDifference]:
    """Run two models on the same data and compare the layers that both have, and the outputs.

    Layers are the same where their nodes have the same name and results of one shape. Integers are compared as the
    numbers they stand for.

    Returns:
        The differences, largest damage (least signal to noise) first.

    Raises:
        InputError: if the models do not take the same inputs.
    """
    if sorted(first.graph.inputs) != sorted(second.graph.inputs):
        raise InputError(
            f"the models take different inputs: {first.graph.inputs} and {second.graph.inputs}; compare two versions "
            "of one model"
        )
    left, right = _results(first.graph), _results(second.graph)
    shared = [name for name in left if name in right]
    before = _run(first, [left[name] for name in shared], samples)
    after = _run(second, [right[name] for name in shared], samples)
    operators = [{node.name: node.op for node in variant.graph.nodes} for variant in (first, second)]
    rows = []
    for place, name in enumerate(shared):
        a, b = before[place], after[place]
        if all(x.shape == y.shape for x, y in zip(a, b, strict=True)):
            ops = dict.fromkeys(by_name.get(name, "output") for by_name in operators)
            rows.append(_difference(name, " → ".join(ops), place, a, b, left[name] in first.graph.outputs))
    return sorted(rows, key=lambda row: row.signal_to_noise)


def _run(variant: Variant, values: list[str], samples: Sequence[Sample]) -> list[list[np.ndarray]]:
    """What values stand for, for all samples."""
    view = GraphView(variant.graph)
    made = [name for name in values if name not in variant.graph.constants]
    results: list[list[np.ndarray]] = [[] for _ in values]
    with variant.session(with_outputs(variant.graph, made)) as session:
        for feeds in samples:
            arrays = {**variant.graph.constants, **session.run(feeds)}
            for place, name in enumerate(values):
                numbers = dequantized_value(view, name, np.asarray(arrays[name]))
                # Half of the memory, and far finer than any error that is looked for.
                results[place].append(numbers.astype(np.float32))
    return results


def _results(graph: Graph) -> dict[str, str]:
    """The value to look at for every node with weights or arithmetic, and every output, by name."""
    results = {
        node.name: node.outputs[0]
        for node in graph.nodes
        if node.name and node.outputs[0] and node.op not in ("QuantizeLinear", "DequantizeLinear", "Cast")
    }
    # A node that makes an output is looked at under its own name alone.
    made = set(results.values())
    return {**results, **{name: name for name in graph.outputs if name not in made}}


def _difference(
    name: str, op: str, place: int, a: list[np.ndarray], b: list[np.ndarray], is_output: bool
) -> LayerDifference:  # fmt: skip
    scaled, b = (False, b) if is_output else _without_factors(a, b)
    left, right = (np.concatenate([array.ravel() for array in arrays]).astype(np.float64) for arrays in (a, b))
    finite = np.concatenate([left[np.isfinite(left)], right[np.isfinite(right)]])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    bounds = (low, high) if high > low else (low - 0.5, low + 0.5)
    counts = [np.histogram(side[np.isfinite(side)], BINS, bounds)[0] for side in (left, right)]
    with np.errstate(invalid="ignore"):
        largest = float(np.nan_to_num(np.abs(left - right), nan=np.inf).max(initial=0))
        noise = signal_to_noise(left, right)
        angle = cosine(left, right)
    return LayerDifference(name, op, scaled, place, noise, angle, largest, *bounds, *counts)


def _without_factors(a: list[np.ndarray], b: list[np.ndarray]) -> tuple[bool, list[np.ndarray]]:
    """Whether b is a with other factors of channels, and b without them.

    Equalisation divides channels by factors that the next layer makes up for; rounding changes them but slightly.
    """
    vectors = a[0].ndim != PICTURE_RANK
    if (vectors and (not a[0].ndim or len(a) < LEAST_VECTORS)) or not all(np.isfinite(x).all() for x in (*a, *b)):
        return False, b
    axes = tuple(range(a[0].ndim - 1)) if vectors else (0, 2, 3)
    products = sum(np.sum(x * y, axis=axes, dtype=np.float64) for x, y in zip(a, b, strict=True))
    powers = sum(np.sum(y * y, axis=axes, dtype=np.float64) for y in b)
    factors = np.where(powers > 0, products / np.where(powers > 0, powers, 1), 1.0)
    if np.abs(factors - 1).max() < LARGEST_ROUNDING or factors.min() <= 0:
        return False, b
    by_channel = factors if vectors else factors[:, None, None]
    fitted = [(array * by_channel).astype(np.float32) for array in b]
    errors = [sum(float(np.sum((x - y) ** 2)) for x, y in zip(a, other, strict=True)) for other in (b, fitted)]
    return (True, fitted) if errors[1] < errors[0] / 4 else (False, b)
