"""Weights stored as integers of 8 or 4 bits, in groups that share a scale."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import FUSED, ONNX, DType, Graph, Node, TensorType, reads
from edgeinfer.passes.pass_base import Pass, PassResult, Refusal
from edgeinfer.passes.store_weights_as_float16 import SMALLEST_ELEMENTS, WIDENED

GROUP = 32
# Place of the weights among the inputs of each operator that is worth it.
WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0}
MATRIX_PRODUCTS = ("Gemm", "MatMul")
_DTYPES = {8: DType.INT8, 4: DType.INT4}


class StoreWeightsAsIntegers(Pass):
    """Large weights become integers with one scale for each 32 of them, numbers again when the model is loaded.

    Before: ``y = Conv(x, w)`` with a constant w of float32 [64, 64, 3, 3]
    After:  ``w = Reshape(DequantizeLinear(integers, Cast(scales)) {axis=1, block_size=32}); y = Conv(x, w)`` with
    constants integers [64, 576] and scales of float16 [64, 18]

    Groups run along the inputs of an operator, so that each lies within one output channel. Channels of fewer inputs
    than a group keep 8 bits: depthwise and first convolutions suffer most and weigh least. Computation stays in
    float32. Run it last: FoldConstants would undo it.

    Args:
        bits: 8 or 4.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def run(self, graph: Graph) -> PassResult:
        """Store every large weight whose values are finite."""
        result = graph.copy()
        nodes, refusals = [], []
        for name, is_matrix in _weights(graph).items():
            array = graph.constants[name]
            if not np.isfinite(array).all():
                refusals.append(Refusal(self.name, name, "a value is infinite or no number"))
                continue
            del result.constants[name]
            nodes += self._stored(result, name, array, is_matrix)
        if not nodes:
            return PassResult(graph, 0, refusals)
        result.nodes = [*nodes, *result.nodes]
        result.metadata["weights"] = f"int{self.bits}"
        return PassResult(result, sum(node.op == "DequantizeLinear" for node in nodes), refusals)

    def _stored(self, graph: Graph, name: str, array: np.ndarray, is_matrix: bool) -> list[Node]:
        """Add the constants to the graph; returns the nodes that make the weights of them."""
        # Groups run along the last axis of `rows`.
        rows = np.moveaxis(array, -2, -1) if is_matrix else array.reshape(array.shape[0], -1)
        bits = self.bits if rows.shape[-1] >= GROUP else 8
        integers, scales = quantize_groups(rows, bits)
        axis = array.ndim - 2 if is_matrix else 1
        if is_matrix:
            integers, scales = np.moveaxis(integers, -1, -2), np.moveaxis(scales, -1, -2)
        stored = graph.add_constant(f"{name}.integers", np.ascontiguousarray(integers), _DTYPES[bits])
        scale, nodes = graph.add_constant(f"{name}.scales", np.ascontiguousarray(scales)), []
        if scales.dtype == np.float16:
            wide = graph.fresh_name(f"{name}.wide_scales")
            graph.types[wide] = TensorType(DType.FLOAT32, scales.shape)
            nodes.append(Node("Cast", [scale], [wide], {"to": WIDENED}, wide))
            scale = wide
        attributes = {"axis": axis, "block_size": GROUP}
        if integers.shape == array.shape:
            return [*nodes, Node("DequantizeLinear", [stored, scale], [name], attributes, f"{name}.widened")]
        flat = graph.fresh_name(f"{name}.rows")
        graph.types[flat] = TensorType(DType.FLOAT32, integers.shape)
        shape = graph.add_constant(f"{name}.shape", np.asarray(array.shape, np.int64))
        return [
            *nodes,
            Node("DequantizeLinear", [stored, scale], [flat], attributes, f"{name}.widened"),
            Node("Reshape", [flat, shape], [name], {}, f"{name}.shaped"),
        ]


def _weights(graph: Graph) -> dict[str, bool]:
    """Large float32 constants read as weights and nothing else: whether they are matrices [inputs, outputs]."""
    found: dict[str, bool] = {}
    others = set(graph.outputs)
    for node in graph.nodes:
        place = WEIGHT_INPUT.get(node.op) if node.domain in (ONNX, FUSED) else None
        weight = node.input(place) if place is not None else ""
        others.update(name for name in reads(node) if name != weight)
        if weight:
            is_matrix = node.op in MATRIX_PRODUCTS and not node.attributes.get("transB", 0)
            if found.setdefault(weight, is_matrix) != is_matrix:
                others.add(weight)
    return {
        name: is_matrix
        for name, is_matrix in found.items()
        if name not in others and _is_large(graph.constants.get(name))
    }


def _is_large(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype == np.float32 and array.size >= SMALLEST_ELEMENTS and array.ndim >= 2


def quantize_groups(rows: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales whose products are near the numbers, in groups of ``GROUP`` along the last axis.

    For each group several scales are tried, since one that cuts the largest number off may suit all others better;
    the one with the smallest sum of squared errors is taken.

    Args:
        rows: float32 [..., n].
        bits: 8 or 4.

    Returns:
        int8 [..., n] in the range of ``bits``, and scales [..., ceil(n / GROUP)]: float16, or float32 where float16
        would have no normal number for the largest of them, or none at all.
    """
    lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    length = rows.shape[-1]
    padded = np.zeros((*rows.shape[:-1], -(-length // GROUP) * GROUP), np.float32)
    padded[..., :length] = rows
    groups = padded.reshape(*rows.shape[:-1], -1, GROUP)
    extreme = np.abs(groups).max(axis=-1)
    half = np.finfo(np.float16)
    largest = extreme.max(initial=0) / highest
    scale_dtype = np.float16 if float(half.tiny) <= largest <= float(half.max) else np.float32
    integers, scales = np.zeros(groups.shape, np.int8), np.zeros(extreme.shape, scale_dtype)
    least = np.full(extreme.shape, np.inf)
    for steps in np.linspace(0.85 * highest, 1.4 * highest, 12) if bits == 4 else (highest, -lowest):
        tried = (extreme / np.float32(steps)).astype(scale_dtype)
        wide = tried.astype(np.float32)[..., None]
        values = np.clip(np.rint(np.divide(groups, wide, out=np.zeros_like(groups), where=wide > 0)), lowest, highest)
        error = np.square(values * wide - groups, dtype=np.float64).sum(axis=-1)
        better = error < least
        integers[better], scales[better], least[better] = values[better], tried[better], error[better]
    return integers.reshape(padded.shape)[..., :length], scales
