"""Passes: rewrites of graphs; pipelines are plain lists."""

from edgeinfer.passes.clean import FoldConstants, RemoveDeadNodes, RemoveIdentity
from edgeinfer.passes.fuse_conv import FuseActivation, FusePadConv, FuseResidual, FuseUpsampleConv
from edgeinfer.passes.fuse_instance_norm import FuseInstanceNormalization, FuseWeightedSum
from edgeinfer.passes.pass_base import Pass, PassReport, PassResult, Patch, Refusal, Rule, run_passes

DEFAULT_PASSES: list[Pass] = [
    FoldConstants(),
    RemoveDeadNodes(),
    RemoveIdentity(),
    FuseWeightedSum(),
    FuseInstanceNormalization(),
    FusePadConv(),
    FuseUpsampleConv(),
    FuseResidual(),
    FuseActivation(),
    FoldConstants(),
    RemoveDeadNodes(),
]

__all__ = [
    "DEFAULT_PASSES",
    "FoldConstants",
    "FuseActivation",
    "FuseInstanceNormalization",
    "FusePadConv",
    "FuseResidual",
    "FuseUpsampleConv",
    "FuseWeightedSum",
    "Pass",
    "PassReport",
    "PassResult",
    "Patch",
    "Refusal",
    "RemoveDeadNodes",
    "RemoveIdentity",
    "Rule",
    "run_passes",
]
