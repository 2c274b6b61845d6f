"""Convolutions with few output channels by the tile registers of Intel's AMX: estimates, tasks, steps."""

from __future__ import annotations

import math

from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.amx_conv import PRODUCTS_COST, TILE_PIXELS, chunk_units
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_few_outputs import cut_few_outputs, few_outputs_applies, pack_folded
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, conv_values, pack_bias
from edgeinfer.plan.lowering.quantized_numbers import Quantization, fill_unit, quantized_bias, quantized_bounds
from edgeinfer.plan.lowering.quantized_pictures import as_quads
from edgeinfer.plan.lowering.units import as_units, units_of
from edgeinfer.plan.memory import align

FAMILY, QUANTIZED_FAMILY = "bf16_amx_few_outputs", "qu8_amx_few_outputs"
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


def _cut(units: ConvGeometry, kernel: KernelRow, context: LoweringContext) -> tuple[dict[str, int | float | str], int]:
    """Params fields of tasks, and floats of scratch memory before the zeros that ``sums`` names."""
    tasks = cut_few_outputs(units, kernel, context.threads, context.kernels.lanes)
    # Pixels are multiplied by two groups.
    floats = align(4 * (tasks.scratch_floats + TILE_PIXELS * kernel.traits["columns"])) // 4
    return {**tasks.fields(units.batch), "chunk": chunk_units(units.channels), "sums": floats}, floats


def emit_amx_few_outputs(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a convolution with bfloat16 products."""
    units, columns = units_of(conv.geometry, kernel), kernel.traits["columns"]
    fields, floats = _cut(units, kernel, context)
    values = {
        **fields, "channels": units.channels, "bias": pack_bias(conv, context, kernel),
        "w": context.packed(
            conv.weight, f"amx_folded{columns}.{kernel.family}", lambda a: pack_folded(as_units(a, kernel), columns)
        ),
    }  # fmt: skip
    conv.append(context, kernel, values, 4 * (floats + columns), in_place=False)


def emit_quantized_amx_few_outputs(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    y_strides: tuple[int, int, int, int],
    kernel: KernelRow,
    flips: bool,
) -> None:
    """Append a convolution of bytes; ``y_strides`` as for ``FusedConv``."""
    units, columns = units_of(geometry, kernel), kernel.traits["columns"]
    fields, floats = _cut(units, kernel, context)
    values: dict[str, int | float | str] = {
        **conv_values(node, units, y_strides), **quantized_bounds(node, context, numbers),
        **quantized_bias(node, context, numbers, 1, kernel), **fields,
        "x": as_quads(node, context, node.inputs[0], geometry.channels, flips), "residual": "", "y": node.outputs[0],
        "fill": fill_unit(numbers, kernel), "tile_scratch": 0,
        "w": context.packed(
            node.inputs[3], f"{numbers.part}amx_folded{columns}.{kernel.family}",
            lambda _: pack_folded(as_units(numbers.weight, kernel), columns),
        ),
    }  # fmt: skip
    context.step(kernel, node, values, (node.outputs[0],), scratch_bytes=4 * (floats + columns), macs=geometry.macs)
