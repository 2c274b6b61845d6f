"""What a pass is, and how rewrite rules are applied.

A pass takes a graph and returns a new one; the one it was given stays as it was. Most passes are rules:
a rule looks at one node at a time and answers with a patch, with the reason why it does not apply, or
with nothing where its pattern is not there at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.errors import EdgeInferError, GraphError
from edgeinfer.graph import DType, Graph, GraphView, Node, TensorType, verify
from edgeinfer.ops import infer_types

MAX_SWEEPS = 200


@dataclass(frozen=True)
class Refusal:
    """Why a rule did not rewrite a node where its pattern began."""

    rule: str
    node: str
    reason: str


@dataclass
class Patch:
    """A local change of a graph.

    Attributes:
        remove: nodes that go; the new ones take the place of the last of them.
        insert: new nodes in order; they define every removed value that is still read.
        constants: new constants by name.
        renames: values that readers find under another name from now on.
    """

    remove: list[Node]
    insert: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    renames: dict[str, str] = field(default_factory=dict)


@dataclass
class PassResult:
    """What a pass did: the graph (the very same one if ``count`` is 0), how often it applied, and refusals."""

    graph: Graph
    count: int
    refusals: list[Refusal] = field(default_factory=list)


class Pass:
    """A change of a whole graph; subclasses implement ``run``."""

    @property
    def name(self) -> str:
        """The pass's class name."""
        return type(self).__name__

    def run(self, graph: Graph) -> PassResult:
        """Apply the pass to a graph, which stays unchanged."""
        raise GraphError(f"{self.name} does not implement run")


class Rule(Pass):
    """A rewrite rule: ``match`` looks at a node whose operator is in ``anchors``."""

    anchors: frozenset[str] = frozenset()

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """A patch, the reason of a refusal, or None if the pattern is not there."""
        raise GraphError(f"{self.name} does not implement match")

    def run(self, graph: Graph) -> PassResult:
        """Sweep over the graph until nothing matches any more."""
        total, refusals = 0, []
        for _ in range(MAX_SWEEPS):
            types, _known = infer_types(graph)
            graph = _with_types(graph, types)
            patches, refusals = self._sweep(GraphView(graph))
            if not patches:
                return PassResult(graph, total, refusals)
            graph = apply_patches(graph, patches)
            total += len(patches)
        raise GraphError(f"{self.name} does not come to an end")

    def _sweep(self, view: GraphView) -> tuple[list[Patch], list[Refusal]]:
        """All patches that touch different nodes."""
        touched: set[int] = set()
        patches, refusals = [], []
        for node in view.graph.nodes:
            if node.op not in self.anchors or id(node) in touched:
                continue
            try:
                found = self.match(view, node)
            except EdgeInferError as error:
                raise GraphError(f"{self.name} at {node}: {error}") from error
            if isinstance(found, str):
                refusals.append(Refusal(self.name, node.name, found))
            elif found is not None and touched.isdisjoint(map(id, found.remove)):
                touched.update(map(id, found.remove))
                patches.append(found)
        return patches, refusals


def _with_types(graph: Graph, types: dict[str, TensorType]) -> Graph:
    copied = graph.copy()
    copied.types = types
    return copied


def apply_patches(graph: Graph, patches: Sequence[Patch]) -> Graph:
    """The graph with patches that remove different nodes applied."""
    result = graph.copy()
    place = {id(node): index for index, node in enumerate(graph.nodes)}
    removed = {id(node) for patch in patches for node in patch.remove}
    inserted: dict[int, list[Node]] = {}
    renames: dict[str, str] = {}
    for patch in patches:
        last = max(place[id(node)] for node in patch.remove)
        inserted.setdefault(last, []).extend(patch.insert)
        for name, array in patch.constants.items():
            result.constants[name] = array
            result.types[name] = TensorType(DType.of(array), tuple(array.shape))
        renames.update(patch.renames)
    nodes: list[Node] = []
    for index, (old, copied) in enumerate(zip(graph.nodes, result.nodes, strict=True)):
        if id(old) not in removed:
            nodes.append(copied)
        nodes += inserted.get(index, [])

    def final(name: str) -> str:
        while name in renames:
            name = renames[name]
        return name

    for node in nodes:
        node.inputs = [final(name) for name in node.inputs]
    result.nodes = nodes
    return result


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
    """
    report = PassReport(before=count_operators(graph))
    refusals: dict[tuple[str, str], Refusal] = {}
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
    remaining = {node.name for node in graph.nodes}
    report.refusals = [refusal for refusal in refusals.values() if refusal.node in remaining]
    return graph, report
