"""Lowering: one file per operator family turns nodes into kernel steps."""

from edgeinfer.plan.lowering.context import LoweringContext, NotNative, find_lowering, lowering, lowerings

__all__ = ["LoweringContext", "NotNative", "find_lowering", "lowering", "lowerings"]
