"""Products of one row with many small matrices become one product."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import DType, Graph, GraphView, Node, TensorType
from edgeinfer.ops import infer_types
from edgeinfer.passes.pass_base import Pass, PassResult
from edgeinfer.passes.patterns import is_op

# The tables of a style network; larger matrices gain nothing.
LARGEST_ELEMENTS = 1 << 16
_FEWEST = 4


class MergeSiblingProducts(Pass):
    """Products of the same row with constant matrices, each made flat, become one product that is cut.

    Before: ``a = Reshape(MatMul(row, A), [n]); b = Reshape(MatMul(row, B), [m])`` with row [1, K]
    After:  ``a, b = Split(Reshape(MatMul(row, [A B]), [n + m]), [n, m])``

    One step runs instead of many tiny ones, and the file names one matrix.
    """

    def run(self, graph: Graph) -> PassResult:
        """Merge the products of each row that has enough of them."""
        result, count = graph.copy(), 0
        result.types = infer_types(graph)[0]
        for row in dict.fromkeys(node.inputs[0] for node in graph.nodes if is_op(node, "MatMul")):
            siblings = _siblings(GraphView(result), row)
            if len(siblings) >= _FEWEST:
                _merge(result, row, siblings)
                count += len(siblings)
        return PassResult(result, count) if count else PassResult(graph, 0)


def _siblings(view: GraphView, row: str) -> list[tuple[Node, Node]]:
    """Products of a row with small matrices, and the Reshape to one dimension that alone reads each."""
    known = view.graph.types.get(row)
    if known is None or known.rank != 2 or known.shape is None or known.shape[0] != 1:
        return []
    found = []
    for node in view.consumers.get(row, []):
        table = view.graph.constants.get(node.inputs[1]) if is_op(node, "MatMul") and node.inputs[0] == row else None
        if table is None or table.ndim != 2 or table.dtype != np.float32 or table.size > LARGEST_ELEMENTS:
            continue
        reader = view.sole_consumer(node.outputs[0])
        if reader is None or not is_op(reader, "Reshape") or view.is_output(reader.outputs[0]):
            continue
        shape = view.graph.constants.get(reader.inputs[1])
        if shape is not None and shape.size == 1 and int(shape[0]) in (-1, table.shape[1]):
            found.append((node, reader))
    return found


def _merge(graph: Graph, row: str, siblings: list[tuple[Node, Node]]) -> None:
    tables = [graph.constants[product.inputs[1]] for product, _ in siblings]
    first = siblings[0][0]
    stem = f"{first.name}.merged"
    columns = np.array([table.shape[1] for table in tables], np.int64)
    table = graph.add_constant(f"{stem}.table", np.concatenate(tables, axis=1))
    flat = graph.add_constant(f"{stem}.flat", np.array([columns.sum()], np.int64))
    cuts = graph.add_constant(f"{stem}.columns", columns)
    product, vector = graph.fresh_name(f"{stem}.product"), graph.fresh_name(f"{stem}.vector")
    graph.types[product] = TensorType(DType.FLOAT32, (1, int(columns.sum())))
    graph.types[vector] = TensorType(DType.FLOAT32, (int(columns.sum()),))
    merged = [
        Node("MatMul", [row, table], [product], {}, f"{stem}.product"),
        Node("Reshape", [product, flat], [vector], {}, f"{stem}.vector"),
        Node("Split", [vector, cuts], [reader.outputs[0] for _, reader in siblings], {"axis": 0}, f"{stem}.split"),
    ]
    removed = {id(node) for pair in siblings for node in pair}
    place = next(index for index, node in enumerate(graph.nodes) if node is first)
    graph.nodes = [
        *(node for node in graph.nodes[:place] if id(node) not in removed),
        *merged,
        *(node for node in graph.nodes[place:] if id(node) not in removed),
    ]
