"""Lowering: one file per operator family turns nodes into kernel steps."""

from edgeinfer.plan.lowering import (
    conv,
    conv_transpose,
    copy,
    elementwise,
    instance_norm,
    matmul,
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
    "instance_norm",
    "lowering",
    "matmul",
]
