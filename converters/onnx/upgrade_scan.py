"""Upgrade of the first Scan, which had a batch axis."""

from __future__ import annotations

from converters.onnx.scope import Scope
from converters.onnx.upgrade import CannotUpgradeError, upgrade
from edgeinfer.graph import Graph, Node, TensorType


@upgrade(9, "Scan")
def scan_over_batches(scope: Scope, node: Node) -> list[Node]:
    """Axis 0 of everything was the batch; now the body sees whole inputs, so a second Scan walks the batch.

    ``Scan("", state, x) {body}`` becomes ``Scan(state, x) {body: Scan(state[i], x[i]) {body}}``.
    """
    if node.input(0):
        raise CannotUpgradeError("input 'sequence_lens' (sequences of different lengths) is not supported")
    body: Graph = node.attributes["body"]
    values = node.inputs[1:]
    attributes = {"body": body, "num_scan_inputs": node.attributes["num_scan_inputs"]}
    if "directions" in node.attributes:
        attributes["scan_input_directions"] = node.attributes["directions"]
    inputs = [scope.names.fresh(f"{node.name}.{name}") for name in body.inputs]
    outputs = [scope.names.fresh(f"{node.name}.{name}") for name in body.outputs]
    item = Graph(f"{body.name}_of_one_item", inputs, outputs, [Node("Scan", inputs, outputs, attributes, node.name)])
    for name, inner in zip(inputs, body.inputs, strict=True):
        item.types[name] = TensorType(body.types[inner].dtype, None)
    return [Node("Scan", values, node.outputs, {"body": item, "num_scan_inputs": len(values)}, f"{node.name}.batch")]
