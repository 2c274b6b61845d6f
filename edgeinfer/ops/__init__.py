"""Operators: one file per family, each with shape inference and a NumPy reference."""

from edgeinfer.ops import (
    binary,
    conv,
    matmul,
    normalization,
    pad,
    pool,
    quantize,
    quantized_elementwise,
    quantized_normalization,
    quantized_pool,
    quantized_products,
    quantized_softmax,
    reduce,
    resize,
    shape,
    slicing,
    unary,
)
from edgeinfer.ops.evaluate import evaluate_node, run_graph
from edgeinfer.ops.infer import infer_types
from edgeinfer.ops.registry import Inference, find_operator, operator, operators

__all__ = [
    "Inference",
    "binary",
    "conv",
    "evaluate_node",
    "find_operator",
    "infer_types",
    "matmul",
    "normalization",
    "operator",
    "operators",
    "pad",
    "pool",
    "quantize",
    "quantized_elementwise",
    "quantized_normalization",
    "quantized_pool",
    "quantized_products",
    "quantized_softmax",
    "reduce",
    "resize",
    "run_graph",
    "shape",
    "slicing",
    "unary",
]
