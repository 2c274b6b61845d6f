"""Convolutions with bfloat16 products by the tile registers of Intel's AMX: which kernel, packing, the step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.amx_conv import amx_cycles, cut_amx, pack_amx_columns, planes_of, run_of
from edgeinfer.plan.lowering.amx_few_outputs import amx_few_outputs_choices, cut_amx_few_outputs
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_few_outputs import pack_folded
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, pack_bias
from edgeinfer.plan.lowering.packed_weights import pack_columns
from edgeinfer.plan.lowering.units import as_units, units_of, width_of

FAMILY, PACKED_FAMILY, FEW_OUTPUTS_FAMILY = "bf16_amx_conv", "bf16_amx_packed_conv", "bf16_amx_few_outputs"
NUMBER_BYTES = 2
# Rounding a float where a patch is read, in the time of a vector multiply-add of 16.
READ_COST = 4

Emit = Callable[[FusedConv, LoweringContext, KernelRow], None]


def bfloat16_amx_choices(geometry: ConvGeometry, context: LoweringContext) -> list[tuple[float, Emit, KernelRow]]:
    """How many vector multiply-adds a kernel takes as long as, what emits it, and the kernel."""
    if geometry.groups > 1:
        return []
    packs = geometry.channels % 2 and geometry.dilations == (1, 1) and geometry.upsample == (1, 1)
    family = PACKED_FAMILY if packs else FAMILY
    reading = geometry.batch * geometry.height * geometry.width * geometry.channels * READ_COST / context.kernels.lanes
    choices: list[tuple[float, Emit, KernelRow]] = []
    for kernel in context.kernels.family(family):
        units, runs, run = _taps(geometry, kernel)
        choices.append((reading + amx_cycles(units, kernel, runs, run), emit_bfloat16_amx, kernel))
    for cycles, kernel in amx_few_outputs_choices(geometry, context, FEW_OUTPUTS_FAMILY):
        choices.append((reading + cycles, emit_few_outputs, kernel))
    return choices


def _taps(geometry: ConvGeometry, kernel: KernelRow) -> tuple[ConvGeometry, int, int]:
    """The geometry with channels as the kernel counts them, runs of taps, and pairs of a run."""
    if kernel.family == PACKED_FAMILY:
        return geometry, geometry.kernel[0], math.ceil(geometry.kernel[1] * geometry.channels / width_of(kernel))
    units = units_of(geometry, kernel)
    return units, *run_of(units)


def pack_rows_of_pairs(weight: np.ndarray, kernel: KernelRow) -> np.ndarray:
    """float32 [out, channels, kh, kw] as [block, kh, pair, columns]: kernel rows [kw][channel] in pairs."""
    rows = weight.transpose(0, 3, 1, 2).reshape(len(weight), -1, weight.shape[2], 1)
    return pack_columns(as_units(np.ascontiguousarray(rows), kernel), 1, kernel.traits["columns"])


def emit_bfloat16_amx(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a convolution with bfloat16 products."""
    columns, is_packed = kernel.traits["columns"], kernel.family == PACKED_FAMILY
    units, runs, run = _taps(conv.geometry, kernel)
    planes = 1 if is_packed else planes_of(units)
    tasks = cut_amx(
        units, kernel, context.threads, runs, run, 0, NUMBER_BYTES if is_packed else 2 * NUMBER_BYTES, planes
    )

    def pack(weight: np.ndarray) -> np.ndarray:
        if is_packed:
            return pack_rows_of_pairs(weight, kernel)
        return pack_amx_columns(as_units(weight, kernel), columns, planes)

    values = {
        **tasks.fields, "channels": units.channels, "bias": pack_bias(conv, context, kernel),
        "w": context.packed(conv.weight, f"amx{columns}.{kernel.family}", pack),
    }  # fmt: skip
    conv.append(context, kernel, values, tasks.patch_bytes + tasks.sums_bytes)


def emit_few_outputs(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a convolution with few output channels."""
    units, columns = units_of(conv.geometry, kernel), kernel.traits["columns"]
    fields, scratch_bytes = cut_amx_few_outputs(units, kernel, context)
    values = {
        **fields, "channels": units.channels, "bias": pack_bias(conv, context, kernel),
        "w": context.packed(
            conv.weight, f"amx_folded{columns}.{kernel.family}", lambda a: pack_folded(as_units(a, kernel), columns)
        ),
    }  # fmt: skip
    conv.append(context, kernel, values, scratch_bytes, in_place=False)
