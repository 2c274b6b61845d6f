"""Passes: rewrites of graphs at conversion time; pipelines are plain lists."""

from edgeinfer.passes.default_passes import DEFAULT_PASSES, QUANTIZED_PASSES
from edgeinfer.passes.factor_channel_scale import FactorChannelScale
from edgeinfer.passes.fold_constants import FoldConstants
from edgeinfer.passes.fuse_activation import FuseActivation
from edgeinfer.passes.fuse_affine_conv import FuseAffineConv
from edgeinfer.passes.fuse_batch_normalization import FuseBatchNormalization
from edgeinfer.passes.fuse_batch_normalization_affine import FuseBatchNormalizationAffine
from edgeinfer.passes.fuse_conv_affine import FuseConvAffine
from edgeinfer.passes.fuse_depth_to_space import FuseDepthToSpace
from edgeinfer.passes.fuse_gelu import FuseGelu
from edgeinfer.passes.fuse_group_normalization import FuseGroupNormalization
from edgeinfer.passes.fuse_hard_sigmoid import FuseHardSigmoid
from edgeinfer.passes.fuse_hard_swish import FuseHardSwish
from edgeinfer.passes.fuse_instance_normalization import FuseInstanceNormalization
from edgeinfer.passes.fuse_layer_normalization import FuseLayerNormalization
from edgeinfer.passes.fuse_matmul_bias import FuseMatMulBias
from edgeinfer.passes.fuse_pad_conv import FusePadConv
from edgeinfer.passes.fuse_residual import FuseResidual
from edgeinfer.passes.fuse_silu import FuseSilu
from edgeinfer.passes.fuse_upsample_conv import FuseUpsampleConv
from edgeinfer.passes.fuse_weighted_sum import FuseWeightedSum
from edgeinfer.passes.merge_common_subexpressions import MergeCommonSubexpressions
from edgeinfer.passes.merge_reshapes import MergeReshapes
from edgeinfer.passes.merge_sibling_products import MergeSiblingProducts
from edgeinfer.passes.merge_transposes import MergeTransposes
from edgeinfer.passes.pass_base import Pass, PassResult, Refusal, Rule
from edgeinfer.passes.patch import Patch
from edgeinfer.passes.pipeline import PassReport, count_operators, run_passes
from edgeinfer.passes.remove_dead_nodes import RemoveDeadNodes
from edgeinfer.passes.remove_identity import RemoveIdentity
from edgeinfer.passes.replace_dynamic_quantization import ReplaceDynamicQuantization
from edgeinfer.passes.replace_gemm import ReplaceGemm
from edgeinfer.passes.replace_reduce_mean import ReplaceReduceMean
from edgeinfer.passes.replace_square import ReplaceSquare
from edgeinfer.passes.replace_sum import ReplaceSum
from edgeinfer.passes.shorten_names import ShortenNames
from edgeinfer.passes.store_weights_as_float16 import StoreWeightsAsFloat16
from edgeinfer.passes.store_weights_as_integers import StoreWeightsAsIntegers

__all__ = [
    "DEFAULT_PASSES",
    "QUANTIZED_PASSES",
    "FactorChannelScale",
    "FoldConstants",
    "FuseActivation",
    "FuseAffineConv",
    "FuseBatchNormalization",
    "FuseBatchNormalizationAffine",
    "FuseConvAffine",
    "FuseDepthToSpace",
    "FuseGelu",
    "FuseGroupNormalization",
    "FuseHardSigmoid",
    "FuseHardSwish",
    "FuseInstanceNormalization",
    "FuseLayerNormalization",
    "FuseMatMulBias",
    "FusePadConv",
    "FuseResidual",
    "FuseSilu",
    "FuseUpsampleConv",
    "FuseWeightedSum",
    "MergeCommonSubexpressions",
    "MergeReshapes",
    "MergeSiblingProducts",
    "MergeTransposes",
    "Pass",
    "PassReport",
    "PassResult",
    "Patch",
    "Refusal",
    "RemoveDeadNodes",
    "RemoveIdentity",
    "ReplaceDynamicQuantization",
    "ReplaceGemm",
    "ReplaceReduceMean",
    "ReplaceSquare",
    "ReplaceSum",
    "Rule",
    "ShortenNames",
    "StoreWeightsAsFloat16",
    "StoreWeightsAsIntegers",
    "count_operators",
    "run_passes",
]
