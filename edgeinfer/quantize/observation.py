"""What is seen of a model's values while it runs on calibration data: ranges, means, histograms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import DType, Graph
from edgeinfer.quantize.backend import Backend, Feeds
from edgeinfer.records import altered

BINS = 2048
# Of larger tensors only every n-th element enters the histogram.
HISTOGRAM_ELEMENTS = 1 << 16


@dataclass
class Observation:
    """What was seen of one value.

    Attributes:
        low: its least element.
        high: its greatest element.
        channel_low: the least element of each channel (axis 1, or the last of a matrix), float64 [C].
        channel_high: the greatest element of each channel.
        channel_mean: the mean of each channel.
        counts: histogram of BINS equal bins from ``low`` to ``high``; empty if none was asked for.
        ranges: what methods chose for it, by their names; see ``choose_range``.
    """

    low: float = np.inf
    high: float = -np.inf
    channel_low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    channel_high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    channel_mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin."""
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS


def with_outputs(graph: Graph, names: list[str]) -> Graph:
    """The graph with further values as outputs."""
    return altered(graph, outputs=list(dict.fromkeys([*graph.outputs, *names])))


def float_values(graph: Graph) -> list[str]:
    """All inputs and results of nodes that hold float32, in order."""
    made = [name for node in graph.nodes for name in node.outputs if name]
    return [
        name
        for name in [*graph.inputs, *made]
        if (known := graph.types.get(name)) is not None and known.dtype is DType.FLOAT32
    ]


def observe(backend: Backend, graph: Graph, samples: list[Feeds], histograms: bool) -> dict[str, Observation]:
    """Run a model on samples and look at every float32 value.

    Args:
        backend: runs the model.
        graph: the float model, with types.
        samples: calibration data.
        histograms: whether to count histograms, in a second sweep.

    Raises:
        QuantizationError: if a value holds NaN or infinities; names it, its node and the sample.
    """
    names = float_values(graph)
    seen = {name: Observation() for name in names}
    makers = {name: str(node) for node in graph.nodes for name in node.outputs}
    # Inputs are no outputs of the watched graph; their arrays are at hand.
    watched = with_outputs(graph, [name for name in names if name not in graph.inputs])
    with backend.open(watched) as run:
        for index, feeds in enumerate(samples):
            values = {**feeds, **run(feeds)}
            for name in names:
                if not np.isfinite(values[name]).all():
                    where = makers.get(name, f"input '{name}'")
                    raise QuantizationError(
                        f"{where} gives NaN or infinity for sample {index}: take that sample out of the calibration "
                        f"data, or look at the model's inputs with 'edgeinfer run'"
                    )
                _widen(seen[name], np.asarray(values[name]), index)
        if histograms:
            for feeds in samples:
                values = {**feeds, **run(feeds)}
                for name in names:
                    _count(seen[name], np.asarray(values[name]))
    return seen


def _widen(seen: Observation, array: np.ndarray, index: int) -> None:
    if not array.size:
        return
    channels = np.moveaxis(array, 1 if array.ndim > 2 else -1, 0) if array.ndim else array.reshape(1)
    flat = channels.reshape(channels.shape[0], -1)
    low, high, mean = flat.min(1).astype(np.float64), flat.max(1).astype(np.float64), flat.mean(1, dtype=np.float64)
    seen.low, seen.high = min(seen.low, float(low.min())), max(seen.high, float(high.max()))
    if seen.channel_low.shape != low.shape:
        seen.channel_low, seen.channel_high, seen.channel_mean = low, high, mean
        return
    seen.channel_low, seen.channel_high = np.minimum(seen.channel_low, low), np.maximum(seen.channel_high, high)
    seen.channel_mean = seen.channel_mean + (mean - seen.channel_mean) / (index + 1)


def _count(seen: Observation, array: np.ndarray) -> None:
    if not array.size or seen.high <= seen.low:
        return
    flat = array.ravel()[:: max(1, array.size // HISTOGRAM_ELEMENTS)].astype(np.float64)
    places = ((flat - seen.low) * (BINS / (seen.high - seen.low))).astype(np.int64)
    counts = np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)
    seen.counts = counts if not seen.counts.size else seen.counts + counts
