"""What rounding single values does to a model's outputs, and the ranges that do the least."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from edgeinfer.graph import Graph, Node
from edgeinfer.quantize.backend import Backend, Feeds, Progress, run_samples, silent
from edgeinfer.quantize.insertion import append_pair
from edgeinfer.quantize.metrics import Outputs
from edgeinfer.quantize.observation import Observation
from edgeinfer.quantize.ranges import Range, choose_range, widened_range
from edgeinfer.quantize.scales import Scale, activation_scale
from edgeinfer.quantize.sensitivity import noise_power
from edgeinfer.records import altered

# Ranges whose widths differ less are the same.
_ALIKE = 0.97
_WIDENINGS = (0.0, 0.5, 1.0)


def rounded_values(graph: Graph, scales: Mapping[str, Scale], only_for: str = "") -> Graph:
    """The float graph with some values rounded to integers and back.

    Args:
        graph: the float graph, with types.
        scales: scale and zero point of the values, by name.
        only_for: name of the node that alone shall read them rounded; ``""`` for all.
    """
    result = graph.copy()
    result.nodes = []
    rounded: dict[str, str] = {}
    for name in graph.inputs:
        if name in scales:
            append_pair(result, name, scales[name], rounded)
    for node in graph.nodes:
        reads = node.name == only_for or not only_for
        inputs = [rounded.get(name, name) if reads else name for name in node.inputs]
        result.nodes.append(altered(node, inputs=inputs))
        for name in node.outputs:
            if name in scales:
                append_pair(result, name, scales[name], rounded)
    return result


def damage_of_sum(
    backend: Backend, graph: Graph, node: Node, scales: Mapping[str, Scale], samples: list[Feeds],
    expected: list[Outputs],
) -> float:  # fmt: skip
    """Output noise over signal if a sum's inputs alone are rounded."""
    own = {name: scales[name] for name in node.inputs if name in scales}
    return noise_power(expected, list(run_samples(backend, rounded_values(graph, own, node.name), samples)))


def widenings_by_effect(
    backend: Backend, graph: Graph, seen: Mapping[str, Observation], method: str, samples: list[Feeds],
    expected: list[Outputs], progress: Progress = silent,
) -> dict[str, float]:  # fmt: skip
    """For every value whose range a method cuts: whether that, the whole range, or the middle harms least.

    A value's own squared error tells little of what rounding does to the outputs: rare large elements may be the ones
    that matter.

    Args:
        backend: runs models.
        graph: the float graph, with types.
        seen: what was seen of values, those that shall be looked at.
        method: a key of METHODS.
        samples: data to measure with.
        expected: the float model's outputs for them.
        progress: is told what is being done.

    Returns:
        By name, for those values alone whose range is cut: how far it shall be widened, see ``widened_range``.
    """

    def noise(name: str, widening: float) -> float:
        scale = activation_scale(widened_range(seen[name], method, widening))
        return noise_power(expected, list(run_samples(backend, rounded_values(graph, {name: scale}), samples)))

    cut = [
        name
        for name, observation in seen.items()
        if _width(choose_range(observation, method)) < _ALIKE * _width(choose_range(observation, "minmax"))
    ]
    widenings = {}
    for index, name in enumerate(cut):
        progress(f"trying wider ranges: value {index + 1} of {len(cut)}")
        widenings[name] = min(_WIDENINGS, key=partial(noise, name))
    return widenings


def _width(bounds: Range) -> float:
    return bounds[1] - bounds[0]
