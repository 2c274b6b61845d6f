"""Passes that tidy up: constants folded, nodes without effect and nodes without readers removed."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import ONNX, DType, Graph, GraphView, Node, TensorType, reads
from edgeinfer.ops import infer_types
from edgeinfer.ops.unary import CAST_CODES
from edgeinfer.passes.pass_base import Pass, PassResult, Patch, Rule


class FoldConstants(Pass):
    """Values that do not depend on the inputs become constants.

    ``Concat(Constant, Shape of a known shape)`` → a constant
    """

    def run(self, graph: Graph) -> PassResult:
        """Fold whatever type inference has come to know."""
        types, known = infer_types(graph)
        result = graph.copy()
        result.types = types
        kept = []
        for node in result.nodes:
            outputs = [name for name in node.outputs if name]
            if outputs and all(name in known for name in outputs):
                for name in outputs:
                    result.constants[name] = known[name]
                    result.types[name] = TensorType(DType.of(known[name]), tuple(known[name].shape))
            else:
                kept.append(node)
        count = len(result.nodes) - len(kept)
        result.nodes = kept
        return PassResult(result if count else graph, count)


class RemoveDeadNodes(Pass):
    """Nodes whose outputs nobody reads go, and so do constants without readers."""

    def run(self, graph: Graph) -> PassResult:
        """Walk backwards from the outputs."""
        needed = set(graph.outputs)
        kept: list[Node] = []
        for node in reversed(graph.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed |= reads(node)
        unused = [name for name in graph.constants if name not in needed]
        count = len(graph.nodes) - len(kept) + len(unused)
        if not count:
            return PassResult(graph, 0)
        result = graph.copy()
        alive = {id(node) for node in kept}
        result.nodes = [copied for node, copied in zip(graph.nodes, result.nodes, strict=True) if id(node) in alive]
        for name in unused:
            del result.constants[name]
        live = {*result.inputs, *result.constants, *(name for node in result.nodes for name in node.outputs)}
        result.types = {name: kind for name, kind in result.types.items() if name in live}
        return PassResult(result, count)


class RemoveIdentity(Rule):
    """Nodes that hand on their input unchanged go.

    ``x → Identity | Dropout | Cast to its own dtype | Pad by nothing | Transpose in order → y``  ⇒  ``x → y``
    """

    anchors = frozenset({"Identity", "Dropout", "Cast", "Transpose", "Pad", "Concat", "Sum", "Reshape"})

    def match(self, view: GraphView, node: Node) -> Patch | str | None:
        """Match nodes of the ONNX domain that change nothing."""
        if node.domain != ONNX or not self._changes_nothing(view, node):
            return None
        if len(node.outputs) > 1 and view.consumers.get(node.outputs[1]):
            return None
        source, target = node.inputs[0], node.outputs[0]
        if not view.is_output(target):
            return Patch([node], renames={target: source})
        producer = view.producer(source)
        if producer is None or view.is_output(source) or len(producer.outputs) > 1:
            return None
        return self._rename_producer(view, node, producer, source, target)

    def _rename_producer(self, view: GraphView, node: Node, producer: Node, source: str, target: str) -> Patch:
        """The value before the node takes the name of the graph's output."""
        renamed = Node(producer.op, producer.inputs, [target], producer.attributes, producer.name, producer.domain)
        readers = [reader for reader in view.consumers[source] if reader is not node]
        if readers:
            return Patch([node], [Node("Identity", [source], [target], {}, node.name)])
        return Patch([producer, node], [renamed])

    def _changes_nothing(self, view: GraphView, node: Node) -> bool:
        types, constants = view.graph.types, view.graph.constants
        known = types.get(node.inputs[0])
        if node.op == "Identity":
            producer = view.producer(node.inputs[0])
            return not (view.is_output(node.outputs[0]) and (producer is None or len(view.consumers[node.inputs[0]]) > 1))
        if node.op == "Dropout":
            return True
        if node.op == "Cast":
            return known is not None and CAST_CODES.get(node.attributes["to"]) is known.dtype
        if node.op == "Transpose":
            perm = node.attributes.get("perm")
            return perm is not None and list(perm) == sorted(perm)
        if node.op == "Pad":
            pads = constants.get(node.inputs[1])
            return pads is not None and not np.any(pads)
        if node.op == "Reshape":
            result = types.get(node.outputs[0])
            return known is not None and result is not None and known.is_static and known.shape == result.shape
        return len(node.inputs) == 1
