"""Post-training quantization of a whole model: calibrate, choose layers, measure, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph, GraphView
from edgeinfer.quantize.backend import Backend, Feeds, run_samples
from edgeinfer.quantize.biases import correct_biases
from edgeinfer.quantize.equalization import equalize
from edgeinfer.quantize.insertion import fused, insert_quantization, quantized_values, spelled_out
from edgeinfer.quantize.layers import LINEAR, MOVING, Layer, chosen_nodes, find_layers, typed
from edgeinfer.quantize.metrics import Metric, Outputs
from edgeinfer.quantize.observation import Observation, observe, with_outputs
from edgeinfer.quantize.ranges import METHODS, choose_range
from edgeinfer.quantize.rounding import input_moments, rounded_weights
from edgeinfer.quantize.scales import Scale, activation_scale
from edgeinfer.quantize.sensitivity import keep_worst, noise_power

# Samples on which sets of layers are compared; the result is measured on all.
SEARCH_SAMPLES = 6
EQUALIZATION_STRENGTHS = (0.5, 1.0)
# What changes the model's values must pay with this much less noise: 0.5 dB.
_BETTER = 0.89
# A layer is slower on integers only if it is so by more than clocks differ.
_SLOWER = 1.1
# All such layers together must make whole runs faster, since numbers have to be turned into integers around them.
_FASTER = 0.98


@dataclass(frozen=True)
class Goal:
    """What the quantized model must keep to.

    Attributes:
        name: for messages, such as ``PSNR``.
        metric: larger is better.
        least: the least value that will do.
    """

    name: str
    metric: Metric
    least: float


@dataclass
class LayerResult:
    """What became of one layer.

    Attributes:
        name: the node's name.
        op: its operator.
        macs: multiply-adds for the calibration shapes.
        integer: whether it runs on integers.
        reason: why it does not; empty if it does.
        damage: output noise over signal if this layer alone runs on integers, None if not measured.
        float_seconds: time in the float model.
        integer_seconds: time on integers, with what turns numbers into integers and back; None if not measured.
    """

    name: str
    op: str
    macs: int
    integer: bool
    reason: str = ""
    damage: float | None = None
    float_seconds: float = 0.0
    integer_seconds: float | None = None


@dataclass
class Quantized:
    """A quantized model and what is known of it.

    Attributes:
        graph: the model.
        layers: all convolutions and products.
        notes: what was done beside rounding, for people.
        expected: the float model's outputs for all samples.
        outputs: this model's outputs for all samples.
        goal_value: what the goal's metric gives, None without a goal.
    """

    graph: Graph
    layers: list[LayerResult]
    notes: list[str]
    expected: list[Outputs]
    outputs: list[Outputs]
    goal_value: float | None = None

    @property
    def integer_share(self) -> float:
        """Share of the multiply-adds that run on integers."""
        return sum(layer.macs for layer in self.layers if layer.integer) / max(1, sum(x.macs for x in self.layers))


@dataclass
class _Prepared:
    """A float model ready for integers.

    Attributes:
        graph: the float model.
        layers: its layers.
        seen: what was seen of its values.
        weights: weights of layers as integers, by name of the layer.
        corrected: whether biases shall be corrected.
        note: what was done to it, for people.
    """

    graph: Graph
    layers: list[Layer]
    seen: dict[str, Observation]
    weights: dict[str, np.ndarray]
    corrected: bool = False
    note: str = ""


@dataclass
class PostTraining:
    """One model's quantization.

    Attributes:
        backend: runs models.
        samples: calibration data.
        method: how ranges are chosen, a key of METHODS.
        keep_float: names of layers that stay float.
        goal: what must hold; layers are kept float until it does.
        measure_all: measure every layer's damage even where no goal asks for it.
        keep_slow: run layers on integers even where they are slower so.
    """

    backend: Backend
    samples: Sequence[Feeds]
    method: str = "mse"
    keep_float: Sequence[str] = ()
    goal: Goal | None = None
    measure_all: bool = False
    keep_slow: bool = False
    _expected: list[Outputs] = field(default_factory=list, repr=False)

    def run(self, graph: Graph) -> Quantized:
        """Quantize a float model as ``convert`` gives it.

        Raises:
            QuantizationError: if the data or options do not fit the model, nothing can be quantized, or the goal
                cannot be held.
        """
        if not self.samples:
            raise QuantizationError("there is no calibration data: give at least one sample, better some tens")
        if self.method not in METHODS:
            raise QuantizationError(f"there is no calibration method '{self.method}'; there are {', '.join(METHODS)}")
        if any(node.op in ("QConv", "QConvTranspose", "QMatMul", "QuantizeLinear") for node in graph.nodes):
            raise QuantizationError(f"'{graph.name}' is quantized already: start from the float model")
        plain = spelled_out(typed(graph))
        self._expected = list(run_samples(self.backend, graph, list(self.samples)))
        prepared, reasons = self._prepare(plain)
        unknown = [name for name in self.keep_float if name not in {x.name for x in prepared.layers} | reasons.keys()]
        if unknown:
            names = ", ".join(layer.name for layer in prepared.layers)
            raise QuantizationError(f"there is no layer {', '.join(unknown)} to keep float; the layers are {names}")
        kept = {name: "kept float as asked" for name in self.keep_float if name not in reasons}
        if len(kept) == len(prepared.layers):
            listed = "\n  ".join(f"{name}: {reason}" for name, reason in {**reasons, **kept}.items())
            raise QuantizationError(f"no layer of '{graph.name}' can run on integers:\n  {listed}")
        prepared = self._best(prepared, plain, set(kept))
        damages = self._damages(prepared, kept) if self.measure_all else {}
        kept |= self._keep_for_goal(prepared, kept, damages)
        times, kept = self._keep_fast(graph, prepared, kept)
        return self._result(graph, prepared, {**reasons, **kept}, damages, times)

    def _prepare(self, graph: Graph) -> tuple[_Prepared, dict[str, str]]:
        seen = observe(self.backend, graph, list(self.samples), self.method != "minmax")
        shapes = self._shapes(graph)
        layers, reasons = find_layers(graph, shapes)
        moments = input_moments(self.backend, graph, layers, list(self.samples))
        weights = {
            layer.name: rounded_weights(graph.constants[layer.weight], layer.axis, moments.get(layer.name))
            for layer in layers
        }
        return _Prepared(graph, layers, seen, weights), reasons

    def _shapes(self, graph: Graph) -> dict[str, tuple[int, ...]]:
        names = [name for node in graph.nodes if node.op in LINEAR for name in node.outputs]
        with self.backend.open(with_outputs(graph, names)) as run:
            return {name: array.shape for name, array in run(self.samples[0]).items()}

    def _best(self, prepared: _Prepared, plain: Graph, kept: set[str]) -> _Prepared:
        """As it is, with corrected biases, or also equalised: whichever is closest to the float model."""
        candidates = [prepared, dataclasses.replace(prepared, corrected=True, note="biases corrected")]
        for strength in EQUALIZATION_STRENGTHS:
            equal, groups = equalize(plain, prepared.layers, prepared.seen, strength)
            if groups:
                note = f"channels of {groups} activations equalised (strength {strength}), biases corrected"
                candidates.append(dataclasses.replace(self._prepare(equal)[0], corrected=True, note=note))
        best, least = prepared, self._noise(prepared, kept)
        for candidate in candidates[1:]:
            noise = self._noise(candidate, kept)
            if noise < _BETTER * least:
                best, least = candidate, noise
        return best

    def build(self, prepared: _Prepared, kept: set[str]) -> Graph:
        """The model with all layers on integers but those kept."""
        layers = {layer.name: layer for layer in prepared.layers if layer.name not in kept}
        graph = prepared.graph
        if prepared.corrected:
            graph = correct_biases(graph, list(layers.values()), prepared.weights, prepared.seen)
        chosen = chosen_nodes(graph, set(layers))
        scales = self._scales(prepared, chosen)
        return fused(insert_quantization(graph, layers, prepared.weights, chosen, scales))

    def _scales(self, prepared: _Prepared, chosen: set[str]) -> dict[str, Scale]:
        view = GraphView(prepared.graph)
        values = quantized_values(prepared.graph, chosen)
        scales: dict[str, Scale] = {}
        order = [*prepared.graph.inputs, *(name for node in prepared.graph.nodes for name in node.outputs)]
        for name in order:
            if name not in values:
                continue
            producer, seen = view.producer(name), prepared.seen[name]
            moves = producer is not None and (producer.op in MOVING or producer.op in ("Resize", "Pad"))
            if producer is not None and moves and producer.name in chosen:
                scales[name] = scales[producer.inputs[0]]
            else:
                # Pictures have 8 bits to begin with: their whole range is exact.
                method = "minmax" if name in prepared.graph.inputs else self.method
                scales[name] = activation_scale(choose_range(seen, method))
        return scales

    def _noise(self, prepared: _Prepared, kept: set[str]) -> float:
        samples, expected = self._search_samples()
        return noise_power(expected, list(run_samples(self.backend, self.build(prepared, kept), samples)))

    def _search_samples(self) -> tuple[list[Feeds], list[Outputs]]:
        count = len(self.samples)
        places = sorted({round(place) for place in np.linspace(0, count - 1, min(count, SEARCH_SAMPLES))})
        return [self.samples[place] for place in places], [self._expected[place] for place in places]

    def _damages(self, prepared: _Prepared, kept: dict[str, str]) -> dict[str, float]:
        names = {layer.name for layer in prepared.layers}
        return {name: self._noise(prepared, names - {name}) for name in names - kept.keys()}

    def _keep_for_goal(
        self, prepared: _Prepared, kept: dict[str, str], damages: dict[str, float]
    ) -> dict[str, str]:  # fmt: skip
        if self.goal is None:
            return {}
        goal = self.goal
        samples = list(self.samples)

        def holds(more: set[str]) -> bool:
            graph = self.build(prepared, more | kept.keys())
            return goal.metric(self._expected, list(run_samples(self.backend, graph, samples))) >= goal.least

        if holds(set()):
            return {}
        damages |= self._damages(prepared, kept)
        worst = keep_worst(damages, {layer.name: layer.macs for layer in prepared.layers}, holds)
        if worst is None:
            raise QuantizationError(f"{goal.name} {goal.least:g} cannot be held even with all layers float")
        return dict.fromkeys(worst, f"too much damage for {goal.name} {goal.least:g}")

    def _keep_fast(
        self, graph: Graph, prepared: _Prepared, kept: dict[str, str]
    ) -> tuple[dict[str, tuple[float, float | None]], dict[str, str]]:
        """Times of all layers (float, on integers), and the layers to keep: also those that are slower on integers."""
        feeds = self.samples[0]
        float_times = self.backend.node_seconds(graph, feeds)
        mixed = self.build(prepared, set(kept))
        mixed_times = self.backend.node_seconds(mixed, feeds)
        times = {
            layer.name: (
                float_times.get(layer.name, 0.0),
                None if layer.name in kept else _with_conversions(mixed, mixed_times, layer.name),
            )
            for layer in prepared.layers
        }
        slow = {name for name, (before, after) in times.items() if after is not None and after > _SLOWER * before}
        if slow and len(slow) + len(kept) < len(prepared.layers) and not self.keep_slow:
            before, after = self.backend.compare_seconds(mixed, self.build(prepared, slow | kept.keys()), feeds)
            if after < _FASTER * before:
                kept = {**kept, **dict.fromkeys(slow, "float is faster on this machine")}
        return times, kept

    def _result(
        self, graph: Graph, prepared: _Prepared, reasons: dict[str, str], damages: dict[str, float],
        times: dict[str, tuple[float, float | None]],
    ) -> Quantized:  # fmt: skip
        layers = {layer.name: layer for layer in prepared.layers}
        result = self.build(prepared, {name for name in reasons if name in layers})
        result.metadata = {**graph.metadata, "quantization": f"int8, calibrated by {self.method}"}
        rows = []
        for node in graph.nodes:
            if node.name not in layers and node.name not in reasons:
                continue
            before, after = times.get(node.name, (0.0, None))
            macs = layers[node.name].macs if node.name in layers else 0
            reason = reasons.get(node.name, "")
            rows.append(
                LayerResult(node.name, node.op, macs, not reason, reason, damages.get(node.name), before, after)
            )
        outputs: list[Outputs] = list(run_samples(self.backend, result, list(self.samples)))
        value = self.goal.metric(self._expected, outputs) if self.goal else None
        return Quantized(result, rows, [prepared.note] if prepared.note else [], self._expected, outputs, value)


def _with_conversions(graph: Graph, times: dict[str, float], name: str) -> float:
    """A node's time with that of the QuantizeLinear before and the DequantizeLinear behind it."""
    view = GraphView(graph)
    node = next(node for node in graph.nodes if node.name == name)
    before = view.producer(node.inputs[0])
    around = [before, *view.consumers.get(node.outputs[0], [])]
    conversions = [other for other in around if other and other.op in ("QuantizeLinear", "DequantizeLinear")]
    return times.get(name, 0.0) + sum(times.get(other.name, 0.0) for other in conversions)
