"""What a pass is, and what a rewrite rule is.

A pass takes a graph and returns a new one; the one it was given stays as it was. Most passes are rules:
a rule looks at one node at a time and answers with a patch, with the reason why it does not apply, or
with nothing where its pattern is not there at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.errors import EdgeInferError, GraphError
from edgeinfer.graph import Graph, GraphView, Node, TensorType
from edgeinfer.ops import infer_types
from edgeinfer.passes.patch import Patch, apply_patches

MAX_SWEEPS = 200

Types = tuple[dict[str, TensorType], dict[str, np.ndarray]]

# While a pipeline runs: the last graph whose types were inferred, and they.
_last_inferred: ContextVar[list[tuple[Graph, Types]] | None] = ContextVar("last_inferred", default=None)


@contextmanager
def types_remembered() -> Iterator[None]:
    """Inside, a graph that a pass leaves as it is has its types inferred once; nothing else may change graphs."""
    token = _last_inferred.set([])
    try:
        yield
    finally:
        _last_inferred.reset(token)


def inferred_types(graph: Graph) -> Types:
    """What ``infer_types`` gives, in dictionaries of the caller's own."""
    last = _last_inferred.get()
    if last and last[0][0] is graph:
        types, known = last[0][1]
    else:
        types, known = infer_types(graph)
        _remember(graph, (types, known))
    return dict(types), dict(known)


def _remember(graph: Graph, types: Types) -> None:
    last = _last_inferred.get()
    if last is not None:
        last[:] = [(graph, types)]


@dataclass(frozen=True)
class Refusal:
    """Why a rule did not rewrite a node where its pattern began; or a pass a constant, then ``node`` is its name."""

    rule: str
    node: str
    reason: str


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
        raise NotImplementedError(f"{self.name} does not implement run")


class Rule(Pass):
    """A rewrite rule: ``match`` looks at a node whose operator is in ``anchors``.

    The types in the graph that ``match`` sees are those that shape inference found, not those that the model claims.
    """

    anchors: frozenset[str] = frozenset()

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """A patch, the reason of a refusal, or None if the pattern is not there."""
        raise NotImplementedError(f"{self.name} does not implement match")

    def run(self, graph: Graph) -> PassResult:
        """Sweep over the graph until nothing matches any more."""
        current, total = graph, 0
        for _ in range(MAX_SWEEPS):
            if not any(node.op in self.anchors for node in current.nodes):
                return PassResult(current, total)
            types, known = inferred_types(current)
            typed = _with_types(current, types)
            patches, refusals = self._sweep(GraphView(typed))
            if not patches and not total:
                return PassResult(graph, 0, refusals)
            if not patches:
                _remember(typed, (types, known))
                return PassResult(typed, total, refusals)
            current = apply_patches(typed, patches)
            total += len(patches)
        raise GraphError(f"{self.name} does not come to an end after {MAX_SWEEPS} sweeps")

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
