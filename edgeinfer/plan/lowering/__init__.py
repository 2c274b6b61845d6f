"""Lowering: one file per operator family turns nodes into kernel steps."""

from edgeinfer.plan.lowering import (
    conv,
    conv_transpose,
    copy,
    elementwise,
    index,
    instance_norm,
    matmul,
    pool,
    quantize,
    quantized_conv,
    quantized_elementwise,
    quantized_pool,
    quantized_softmax,
    reduce,
    resize,
)
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, find_lowering, lowering

__all__ = [
    "LoweringContext",
    "NotNative",
    "conv",
    "conv_transpose",
    "copy",
    "elementwise",
    "find_lowering",
    "index",
    "instance_norm",
    "lowering",
    "matmul",
    "pool",
    "quantize",
    "quantized_conv",
    "quantized_elementwise",
    "quantized_pool",
    "quantized_softmax",
    "reduce",
    "resize",
]
