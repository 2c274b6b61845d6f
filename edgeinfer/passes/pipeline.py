"""Pipelines of passes: plain lists, run in order, with a report of what they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeinfer.errors import GraphError
from edgeinfer.graph import Graph, verify
from edgeinfer.passes.pass_base import Pass, Refusal, types_remembered


@dataclass
class PassReport:
    """What a pipeline did.

    Attributes:
        counts: how often each pass applied, in order, without those that never did.
        before: number of nodes of each operator before.
        after: the same afterwards.
        refusals: fusions that began to match and did not apply, with the reason.
    """

    counts: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)


def count_operators(graph: Graph) -> dict[str, int]:
    """Number of nodes of each operator, fused ones with their domain in front."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        label = f"{node.domain}.{node.op}" if node.domain else node.op
        counts[label] = counts.get(label, 0) + 1
    return dict(sorted(counts.items()))


def run_passes(graph: Graph, passes: Sequence[Pass], check: bool = False) -> tuple[Graph, PassReport]:
    """Run passes one after the other.

    Args:
        graph: the graph, which stays unchanged.
        passes: the pipeline.
        check: verify the graph after each pass.

    Returns:
        The new graph and a report.

    Raises:
        GraphError: naming the pass, if a rule fails or (with ``check``) leaves a graph that breaks the rules.
    """
    report = PassReport(before=count_operators(graph))
    refusals: dict[tuple[str, str], Refusal] = {}
    with types_remembered():
        for step in passes:
            result = step.run(graph)
            graph = result.graph
            if result.count:
                report.counts[step.name] = report.counts.get(step.name, 0) + result.count
            refusals.update({(refusal.rule, refusal.node): refusal for refusal in result.refusals})
            if check:
                try:
                    verify(graph)
                except GraphError as error:
                    raise GraphError(f"after {step.name}: {error}") from error
    report.after = count_operators(graph)
    remaining = {node.name for node in graph.nodes} | graph.constants.keys()
    report.refusals = [refusal for refusal in refusals.values() if refusal.node in remaining]
    return graph, report
