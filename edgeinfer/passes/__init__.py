"""Passes: rewrites of graphs at conversion time; pipelines are plain lists."""

from edgeinfer.passes.fold_constants import FoldConstants
from edgeinfer.passes.fuse_activation import FuseActivation
from edgeinfer.passes.fuse_instance_normalization import FuseInstanceNormalization
from edgeinfer.passes.fuse_pad_conv import FusePadConv
from edgeinfer.passes.fuse_residual import FuseResidual
from edgeinfer.passes.fuse_upsample_conv import FuseUpsampleConv
from edgeinfer.passes.fuse_weighted_sum import FuseWeightedSum
from edgeinfer.passes.merge_common_subexpressions import MergeCommonSubexpressions
from edgeinfer.passes.merge_reshapes import MergeReshapes
from edgeinfer.passes.merge_transposes import MergeTransposes
from edgeinfer.passes.pass_base import Pass, PassResult, Refusal, Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.pipeline import PassReport, count_operators, run_passes
from edgeinfer.passes.remove_dead_nodes import RemoveDeadNodes
from edgeinfer.passes.remove_identity import RemoveIdentity

DEFAULT_PASSES: list[Pass] = [
    FoldConstants(),
    RemoveDeadNodes(),
    RemoveIdentity(),
    MergeCommonSubexpressions(),
    FuseWeightedSum(),
    FuseInstanceNormalization(),
    FusePadConv(),
    FuseUpsampleConv(),
    FuseResidual(),
    FuseActivation(),
    MergeTransposes(),
    MergeReshapes(),
    RemoveIdentity(),
    FoldConstants(),
    MergeCommonSubexpressions(),
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
    "MergeCommonSubexpressions",
    "MergeReshapes",
    "MergeTransposes",
    "Pass",
    "PassReport",
    "PassResult",
    "Patch",
    "Refusal",
    "RemoveDeadNodes",
    "RemoveIdentity",
    "Rule",
    "count_operators",
    "run_passes",
]
