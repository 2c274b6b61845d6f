"""Post-training quantization of a whole model: calibrate, choose layers, measure, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph, GraphView
from edgeinfer.quantize.backend import Backend, Feeds, Progress, run_samples, silent
from edgeinfer.quantize.biases import correct_biases
from edgeinfer.quantize.effects import damage_of_sum, widenings_by_effect
from edgeinfer.quantize.equalization import equalize
from edgeinfer.quantize.insertion import fused, insert_quantization, quantized_values, spelled_out
from edgeinfer.quantize.layers import LINEAR, MOVING, Layer, chosen_nodes, find_layers, typed
from edgeinfer.quantize.metrics import Estimate, Metric, Outputs
from edgeinfer.quantize.observation import Observation, observe, with_outputs
from edgeinfer.quantize.ranges import METHODS, widened_range
from edgeinfer.quantize.rounding import input_moments, rounded_weights
from edgeinfer.quantize.scales import Scale, activation_scale
from edgeinfer.quantize.sensitivity import keep_worst, noise_power

# Samples on which sets of layers are compared; the result is measured on all.
SEARCH_SAMPLES = 12
# Of fewer samples none can be spared.
LEAST_TO_HOLD_OUT = 16
MOST_HELD_OUT = 48
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
        estimate: where the metric shall hold on data not seen: what takes its place in the search. It estimates the
            metric from outputs for samples that calibration did not see.
    """

    name: str
    metric: Metric
    least: float
    estimate: Estimate | None = None


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
        widenings: how far ranges are widened beyond the method's, by name of the value; see ``widened_range``.
        corrected: whether biases shall be corrected.
        note: what was done to it, for people.
    """

    graph: Graph
    layers: list[Layer]
    seen: dict[str, Observation]
    weights: dict[str, np.ndarray]
    widenings: dict[str, float] = field(default_factory=dict)
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
        progress: is told what is being done.
    """

    backend: Backend
    samples: Sequence[Feeds]
    method: str = "mse"
    keep_float: Sequence[str] = ()
    goal: Goal | None = None
    measure_all: bool = False
    keep_slow: bool = False
    progress: Progress = silent
    _expected: list[Outputs] = field(default_factory=list, repr=False)
    _seen: list[int] = field(default_factory=list, repr=False)
    _held_out: list[int] = field(default_factory=list, repr=False)

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
        self._split()
        self.progress(f"running the float model on {len(self.samples)} samples")
        self._expected = list(run_samples(self.backend, graph, list(self.samples)))
        prepared, reasons = self._prepare(plain, self._calibration())
        sums = {node.name for node in plain.nodes if node.op == "Add"}
        known = {layer.name for layer in prepared.layers} | reasons.keys() | sums
        unknown = [name for name in self.keep_float if name not in known]
        if unknown:
            names = ", ".join(layer.name for layer in prepared.layers)
            raise QuantizationError(f"there is no layer {', '.join(unknown)} to keep float; the layers are {names}")
        kept = {name: "kept float as asked" for name in self.keep_float if name not in reasons}
        if all(layer.name in kept for layer in prepared.layers):
            listed = "\n  ".join(f"{name}: {reason}" for name, reason in {**reasons, **kept}.items())
            raise QuantizationError(f"no layer of '{graph.name}' can run on integers:\n  {listed}")
        prepared = self._best(prepared, set(kept))
        prepared = dataclasses.replace(prepared, widenings=self._widenings(prepared, set(kept)))
        if self.goal is None or self.goal.estimate is None:
            prepared = self._on_all(prepared)
        damages = self._damages(prepared, kept) if self.measure_all else {}
        kept |= self._keep_for_goal(prepared, kept, damages)
        times, kept = self._keep_fast(graph, prepared, kept)
        return self._result(graph, prepared, {**reasons, **kept}, damages, times)

    def _split(self) -> None:
        """Divide samples into those that calibration sees and those held out, which are the same if there are few.

        What is decided by measuring is measured on the latter, for ranges and roundings fit the former too well.
        Where no goal needs data not seen, all are calibrated on in the end.
        """
        everything = list(range(len(self.samples)))
        self._seen = self._held_out = everything
        if len(everything) >= LEAST_TO_HOLD_OUT:
            share = 2 if self.goal is not None and self.goal.estimate is not None else 4
            count = min(len(everything) // share, MOST_HELD_OUT)
            order = np.random.default_rng(0).permutation(len(everything)).tolist()
            self._held_out, self._seen = sorted(order[:count]), sorted(order[count:])

    def _on_all(self, prepared: _Prepared) -> _Prepared:
        """The same decisions, calibrated on all samples."""
        everything = list(range(len(self.samples)))
        if self._seen == everything:
            return prepared
        self._seen = self._held_out = everything
        whole, _ = self._prepare(prepared.graph, self._calibration())
        return dataclasses.replace(
            whole, widenings=prepared.widenings, corrected=prepared.corrected, note=prepared.note
        )  # fmt: skip

    def _calibration(self) -> list[Feeds]:
        return [self.samples[place] for place in self._seen]

    def _prepare(self, graph: Graph, samples: list[Feeds]) -> tuple[_Prepared, dict[str, str]]:
        self.progress(f"looking at values, and rounding weights, on {len(samples)} samples")
        seen = observe(self.backend, graph, samples, self.method != "minmax")
        shapes = self._shapes(graph)
        layers, reasons = find_layers(graph, shapes)
        moments = input_moments(self.backend, graph, layers, samples)
        weights = {
            layer.name: rounded_weights(graph.constants[layer.weight], layer.axis, moments.get(layer.name))
            for layer in layers
        }
        return _Prepared(graph, layers, seen, weights), reasons

    def _shapes(self, graph: Graph) -> dict[str, tuple[int, ...]]:
        names = [name for node in graph.nodes if node.op in LINEAR for name in node.outputs]
        with self.backend.open(with_outputs(graph, names)) as run:
            return {name: array.shape for name, array in run(self.samples[0]).items()}

    def _best(self, prepared: _Prepared, kept: set[str]) -> _Prepared:
        """As it is, with corrected biases, or also equalised: whichever is closest to the float model."""
        self.progress("trying corrected biases")
        best, least = prepared, self._noise(prepared, kept)
        corrected = dataclasses.replace(prepared, corrected=True, note="biases corrected")
        noise = self._noise(corrected, kept)
        if noise < _BETTER * least:
            best, least = corrected, noise
        for strength in EQUALIZATION_STRENGTHS:
            self.progress(f"trying equalised channels, strength {strength}")
            equal, groups = equalize(prepared.graph, prepared.layers, prepared.seen, strength)
            if not groups:
                break
            note = f"channels of {groups} activations equalised (strength {strength}), biases corrected"
            # A few samples tell whether it is worth while.
            candidate = dataclasses.replace(self._prepare(equal, self._search_samples()[0])[0], corrected=True)
            noise = self._noise(candidate, kept)
            if noise < _BETTER * least:
                whole = self._prepare(equal, self._calibration())[0]
                best, least = dataclasses.replace(whole, corrected=True, note=note), noise
        return best

    def build(self, prepared: _Prepared, kept: set[str]) -> Graph:
        """The model with all layers on integers but those kept."""
        layers = {layer.name: layer for layer in prepared.layers if layer.name not in kept}
        graph = prepared.graph
        if prepared.corrected:
            graph = correct_biases(graph, list(layers.values()), prepared.weights, prepared.seen)
        chosen = chosen_nodes(graph, set(layers), kept)
        scales = self._scales(prepared, chosen)
        exact = {node.name for node in graph.nodes if node.op == "Add" and node.name in kept}
        return fused(insert_quantization(graph, layers, prepared.weights, chosen, scales, exact))

    def _widenings(self, prepared: _Prepared, kept: set[str]) -> dict[str, float]:
        """Ranges that harm the outputs less than those of ``mse``, which looks at single values."""
        if self.method != "mse":
            return {}
        graph = prepared.graph
        chosen = chosen_nodes(graph, {layer.name for layer in prepared.layers} - kept)
        values = {
            name: prepared.seen[name]
            for name in quantized_values(graph, chosen)
            if name not in graph.inputs and not _inherits(GraphView(graph), name, chosen)
        }
        samples, expected = self._search_samples()
        return widenings_by_effect(self.backend, graph, values, self.method, samples, expected, self.progress)

    def _scales(self, prepared: _Prepared, chosen: set[str]) -> dict[str, Scale]:
        view = GraphView(prepared.graph)
        values = quantized_values(prepared.graph, chosen)
        scales: dict[str, Scale] = {}
        order = [*prepared.graph.inputs, *(name for node in prepared.graph.nodes for name in node.outputs)]
        for name in order:
            if name not in values:
                continue
            moved_from = _inherits(view, name, chosen)
            if moved_from:
                scales[name] = scales[moved_from]
                continue
            # Pictures have 8 bits to begin with: their whole range is exact.
            method = "minmax" if name in prepared.graph.inputs else self.method
            widening = prepared.widenings.get(name, 0.0)
            scales[name] = activation_scale(widened_range(prepared.seen[name], method, widening))
        return scales

    def _noise(self, prepared: _Prepared, kept: set[str]) -> float:
        samples, expected = self._search_samples()
        return noise_power(expected, list(run_samples(self.backend, self.build(prepared, kept), samples)))

    def _search_samples(self) -> tuple[list[Feeds], list[Outputs]]:
        count = len(self._held_out)
        chosen = sorted({round(place) for place in np.linspace(0, count - 1, min(count, SEARCH_SAMPLES))})
        places = [self._held_out[place] for place in chosen]
        return [self.samples[place] for place in places], [self._expected[place] for place in places]

    def _damages(self, prepared: _Prepared, kept: dict[str, str]) -> dict[str, float]:
        names = {layer.name for layer in prepared.layers}
        left, damages = names - kept.keys(), {}
        for index, name in enumerate(left):
            self.progress(f"measuring the damage of each layer: {index + 1} of {len(left)}")
            damages[name] = self._noise(prepared, names - {name})
        chosen = chosen_nodes(prepared.graph, names - kept.keys())
        scales = self._scales(prepared, chosen)
        samples, expected = self._search_samples()
        return damages | {
            node.name: damage_of_sum(self.backend, prepared.graph, node, scales, samples, expected)
            for node in prepared.graph.nodes
            if node.op == "Add" and node.name in chosen
        }

    def _keep_for_goal(
        self, prepared: _Prepared, kept: dict[str, str], damages: dict[str, float]
    ) -> dict[str, str]:  # fmt: skip
        if self.goal is None:
            return {}
        goal = self.goal
        places = range(len(self.samples)) if goal.estimate is None else self._held_out

        def holds(more: set[str]) -> bool:
            self.progress(f"trying {goal.name} {goal.least:g} with {len(more)} layers float")
            graph = self.build(prepared, more | kept.keys())
            found = run_samples(self.backend, graph, [self.samples[place] for place in places])
            return self._goal_value(goal, dict(zip(places, found, strict=True))) >= goal.least

        if holds(set()):
            return {}
        damages |= self._damages(prepared, kept)
        sizes = dict.fromkeys(damages, 0) | {layer.name: layer.macs for layer in prepared.layers}
        worst = keep_worst({name: damages[name] for name in damages if name not in kept}, sizes, holds)
        if worst is None:
            raise QuantizationError(f"{goal.name} {goal.least:g} cannot be held even with all layers float")
        return dict.fromkeys(worst, f"too much damage for {goal.name} {goal.least:g}")

    def _goal_value(self, goal: Goal, found: Mapping[int, Outputs]) -> float:
        """What a goal's metric or estimate gives for outputs by place of their sample."""
        if goal.estimate is None:
            return goal.metric(self._expected, [found[place] for place in range(len(self.samples))])
        pairs = [(self._expected[place], found[place]) for place in self._held_out]
        return goal.estimate(self._expected, pairs)

    def _keep_fast(
        self, graph: Graph, prepared: _Prepared, kept: dict[str, str]
    ) -> tuple[dict[str, tuple[float, float | None]], dict[str, str]]:
        """Times of all layers (float, on integers), and the layers to keep: also those that are slower on integers."""
        self.progress("measuring times")
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
        if slow and any(layer.name not in slow | kept.keys() for layer in prepared.layers) and not self.keep_slow:
            before, after = self.backend.compare_seconds(mixed, self.build(prepared, slow | kept.keys()), feeds)
            if after < _FASTER * before:
                kept = {**kept, **dict.fromkeys(slow, "float is faster on this machine")}
        return times, kept

    def _result(
        self, graph: Graph, prepared: _Prepared, reasons: dict[str, str], damages: dict[str, float],
        times: dict[str, tuple[float, float | None]],
    ) -> Quantized:  # fmt: skip
        layers = {layer.name: layer for layer in prepared.layers}
        result = self.build(prepared, set(reasons))
        result.metadata = {**graph.metadata, "quantization": f"int8, calibrated by {self.method}"}
        rows = []
        for node in prepared.graph.nodes:
            if node.name not in layers and node.name not in reasons and node.name not in damages:
                continue
            before, after = times.get(node.name, (0.0, None))
            macs = layers[node.name].macs if node.name in layers else 0
            reason = reasons.get(node.name, "")
            rows.append(
                LayerResult(node.name, node.op, macs, not reason, reason, damages.get(node.name), before, after)
            )
        outputs: list[Outputs] = list(run_samples(self.backend, result, list(self.samples)))
        value = self._goal_value(self.goal, dict(enumerate(outputs))) if self.goal else None
        return Quantized(result, rows, [prepared.note] if prepared.note else [], self._expected, outputs, value)


def _inherits(view: GraphView, name: str, chosen: set[str]) -> str:
    """The value whose scale a value has since a chosen node only moves its elements; ``""`` if none does."""
    producer = view.producer(name)
    if producer is None or producer.name not in chosen:
        return ""
    return producer.inputs[0] if producer.op in MOVING or producer.op in ("Resize", "Pad") else ""


def _with_conversions(graph: Graph, times: dict[str, float], name: str) -> float:
    """A node's time with that of the QuantizeLinear before and the DequantizeLinear behind it."""
    view = GraphView(graph)
    node = next(node for node in graph.nodes if node.name == name)
    before = view.producer(node.inputs[0])
    around = [before, *view.consumers.get(node.outputs[0], [])]
    conversions = [other for other in around if other and other.op in ("QuantizeLinear", "DequantizeLinear")]
    return times.get(name, 0.0) + sum(times.get(other.name, 0.0) for other in conversions)
