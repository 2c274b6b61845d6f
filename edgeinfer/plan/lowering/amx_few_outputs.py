"""Convolutions with few output channels by the tile registers of Intel's AMX: estimates and tasks."""

from __future__ import annotations

import math

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.amx_conv import OFFSET_BYTES, PRODUCTS_COST, TILE_PIXELS, UNIT_BYTES, chunk_units
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_few_outputs import cut_few_outputs, few_outputs_applies
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.units import units_of
from edgeinfer.plan.memory import align

# Adding up what belongs to an output pixel, a tap, in the time of a vector multiply-add.
TAP_COST = 3


def amx_few_outputs_choices(
    geometry: ConvGeometry, context: LoweringContext, family: str
) -> list[tuple[float, KernelRow]]:
    """Kernels that compute a convolution, and how many vector multiply-adds take as long."""
    choices = []
    for kernel in context.kernels.family(family):
        columns, outputs = kernel.traits["columns"], geometry.kernel[1] * geometry.out_channels
        if few_outputs_applies(geometry, context.kernels.lanes) and outputs <= columns:
            units = units_of(geometry, kernel)
            row_tiles = math.ceil((geometry.out_width + geometry.kernel[1] - 1) / TILE_PIXELS)
            chunks = geometry.kernel[0] * units.channels // chunk_units(units.channels)
            products = row_tiles * chunks * columns / TILE_PIXELS * PRODUCTS_COST
            sums = geometry.out_width * geometry.kernel[1] * TAP_COST
            choices.append((geometry.batch * geometry.out_height * (products + sums), kernel))
    return choices


def cut_amx_few_outputs(
    units: ConvGeometry, kernel: KernelRow, context: LoweringContext
) -> tuple[dict[str, int | float | str], int]:
    """Params fields of tasks, and bytes of scratch memory; at its end stand zeros, where ``sums`` says, and offsets."""
    tasks = cut_few_outputs(units, kernel, context.threads, context.kernels.lanes)
    # Pixels are multiplied by two groups.
    floats = align(4 * (tasks.scratch_floats + TILE_PIXELS * kernel.traits["columns"])) // 4
    chunk, columns = chunk_units(units.channels), kernel.traits["columns"]
    fields = {**tasks.fields(units.batch), "chunk": chunk, "sums": floats, "offsets": floats + columns}
    steps = units.kernel[0] * units.channels // chunk
    return fields, UNIT_BYTES * (floats + columns) + OFFSET_BYTES * steps
