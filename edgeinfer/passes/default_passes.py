"""The pipeline of passes that conversion runs."""

from __future__ import annotations

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
from edgeinfer.passes.fuse_quantized_elementwise import (
    FuseQuantizedAveragePool,
    FuseQuantizedBinary,
    FuseQuantizedSoftmax,
)
from edgeinfer.passes.fuse_quantized_normalization import FuseQuantizedNormalization
from edgeinfer.passes.fuse_quantized_products import (
    FuseQuantizedConv,
    FuseQuantizedConvTranspose,
    FuseQuantizedMatMul,
)
from edgeinfer.passes.fuse_quantized_table import FuseQuantizedConcat, FuseQuantizedFunction, FuseRequantization
from edgeinfer.passes.fuse_residual import FuseResidual
from edgeinfer.passes.fuse_silu import FuseSilu
from edgeinfer.passes.fuse_upsample_conv import FuseUpsampleConv
from edgeinfer.passes.fuse_weighted_sum import FuseWeightedSum
from edgeinfer.passes.merge_common_subexpressions import MergeCommonSubexpressions
from edgeinfer.passes.merge_reshapes import MergeReshapes
from edgeinfer.passes.merge_sibling_products import MergeSiblingProducts
from edgeinfer.passes.merge_transposes import MergeTransposes
from edgeinfer.passes.move_quantization import MoveIntegers, MoveQuantizeUp, RemoveQuantizePair
from edgeinfer.passes.pass_base import Pass
from edgeinfer.passes.remove_dead_nodes import RemoveDeadNodes
from edgeinfer.passes.remove_identity import RemoveIdentity
from edgeinfer.passes.replace_dynamic_quantization import ReplaceDynamicQuantization
from edgeinfer.passes.replace_gemm import ReplaceGemm
from edgeinfer.passes.replace_reduce_mean import ReplaceReduceMean
from edgeinfer.passes.replace_square import ReplaceSquare
from edgeinfer.passes.replace_sum import ReplaceSum

_TIDY: list[Pass] = [
    FoldConstants(),
    RemoveDeadNodes(),
    RemoveIdentity(),
    MergeTransposes(),
    MergeReshapes(),
    MergeCommonSubexpressions(),
    RemoveDeadNodes(),
]

# First of all, before constants are folded: DequantizeLinear of constant weights is part of the patterns.
_QUANTIZED: list[Pass] = [
    RemoveDeadNodes(),
    MoveQuantizeUp(),
    MoveIntegers(),
    RemoveQuantizePair(),
    FuseQuantizedConv(),
    FuseQuantizedConvTranspose(),
    FuseQuantizedMatMul(),
    FuseQuantizedBinary(),
    FuseQuantizedAveragePool(),
    FuseQuantizedSoftmax(),
    FuseQuantizedConcat(),
    FuseQuantizedFunction(),
    FuseRequantization(),
]

# Operators that exporters spelled out come first, then arithmetic that goes into weights, while convolutions are
# still followed by it; activations last, for nothing can be folded behind one.
DEFAULT_PASSES: list[Pass] = [
    *_QUANTIZED,
    ReplaceDynamicQuantization(),
    *_TIDY,
    ReplaceSum(),
    FuseWeightedSum(),
    FuseLayerNormalization(),
    FuseInstanceNormalization(),
    FuseGroupNormalization(),
    FuseDepthToSpace(),
    ReplaceReduceMean(),
    FactorChannelScale(),
    FuseGelu(),
    ReplaceSquare(),
    FuseHardSigmoid(),
    FuseHardSwish(),
    FuseSilu(),
    RemoveDeadNodes(),
    ReplaceGemm(),
    FuseMatMulBias(),
    FuseBatchNormalization(),
    FuseBatchNormalizationAffine(),
    FuseConvAffine(),
    # Once more, for those behind a bias that was an Add of its own until now.
    FuseBatchNormalization(),
    FusePadConv(),
    FuseUpsampleConv(),
    FuseAffineConv(),
    FuseResidual(),
    FuseActivation(),
    FuseQuantizedNormalization(),
    *_TIDY,
    MergeSiblingProducts(),
    RemoveDeadNodes(),
]

# For graphs that went through the pipeline above and got QuantizeLinear and DequantizeLinear since.
QUANTIZED_PASSES: list[Pass] = [
    *_QUANTIZED,
    FuseQuantizedNormalization(),
    *_TIDY,
    FuseResidual(),
    FuseActivation(),
    *_TIDY,
    MergeSiblingProducts(),
    RemoveDeadNodes(),
]
