"""Convolutions of bytes by the tile registers of Intel's AMX: which kernel, packing, the step."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.amx_conv import amx_cycles, cut_amx, pack_amx_columns, planes_of, run_of
from edgeinfer.plan.lowering.amx_few_outputs import amx_few_outputs_choices, cut_amx_few_outputs
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_few_outputs import pack_folded
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.quantized_numbers import Quantization, quantized_conv_values
from edgeinfer.plan.lowering.quantized_packed_conv import pack_rows_of_taps, packs_rows_of_taps
from edgeinfer.plan.lowering.quantized_pictures import QUAD, as_quads, whole_quads
from edgeinfer.plan.lowering.units import as_units, units_of

FAMILY, PACKED_FAMILY, FEW_OUTPUTS_FAMILY = "qu8_amx_conv", "qu8_amx_packed_conv", "qu8_amx_few_outputs"
FAMILIES = (FAMILY, PACKED_FAMILY, FEW_OUTPUTS_FAMILY)
# Copying a pixel to whole quads, in the time of a vector multiply-add.
COPY_COST = 8
# Rows of a tile whose sums become bytes together.
FINISHED_ROWS = 8


def quantized_amx_choices(
    geometry: ConvGeometry, context: LoweringContext, flips: bool
) -> list[tuple[float, KernelRow]]:
    """Kernels that compute a convolution of one group of bytes, and how many vector multiply-adds take as long."""
    choices = []
    for family in (FAMILY, PACKED_FAMILY) if packs_rows_of_taps(geometry) and not flips else (FAMILY,):
        for kernel in context.kernels.family(family):
            units, runs, run = _taps(geometry, kernel)
            copies = family == FAMILY and (flips or geometry.channels % QUAD)
            pixels = geometry.batch * geometry.height * geometry.width if copies else 0
            choices.append((amx_cycles(units, kernel, runs, run) + COPY_COST * pixels, kernel))
    return choices + amx_few_outputs_choices(geometry, context, FEW_OUTPUTS_FAMILY)


def _taps(geometry: ConvGeometry, kernel: KernelRow) -> tuple[ConvGeometry, int, int]:
    """The geometry with channels as the kernel counts them, runs of taps, and quads of a run."""
    if kernel.family == PACKED_FAMILY:
        return geometry, geometry.kernel[0], whole_quads(geometry.kernel[1] * geometry.channels) // QUAD
    units = units_of(geometry, kernel)
    return units, *run_of(units)


def emit_quantized_amx(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    y_strides: tuple[int, int, int, int],
    kernel: KernelRow,
    flips: bool,
) -> None:
    """Append a convolution of bytes; ``y_strides`` as for ``FusedConv``."""
    if kernel.family == FEW_OUTPUTS_FAMILY:
        _emit_few_outputs(node, context, geometry, numbers, y_strides, kernel, flips)
        return
    columns, is_packed = kernel.traits["columns"], kernel.family == PACKED_FAMILY
    units, runs, run = _taps(geometry, kernel)
    tile_bytes = 4 * FINISHED_ROWS * columns
    planes = 1 if is_packed else planes_of(units)
    tasks = cut_amx(units, kernel, context.threads, runs, run, tile_bytes, 1 if is_packed else QUAD, planes)

    def pack(_: np.ndarray) -> np.ndarray:
        if is_packed:
            return pack_rows_of_taps(numbers.weight, kernel)
        return pack_amx_columns(as_units(numbers.weight, kernel), columns, planes)

    x = node.inputs[0] if is_packed else as_quads(node, context, node.inputs[0], geometry.channels, flips)
    values: dict[str, int | float | str] = {
        **quantized_conv_values(node, context, units, numbers, kernel, y_strides), **tasks.fields, "x": x,
        "tile_scratch": tasks.patch_bytes // 4,
        "w": context.packed(node.inputs[3], f"{numbers.part}amx{columns}x{units.channels}.{kernel.family}", pack),
    }  # fmt: skip
    scratch_bytes = tasks.patch_bytes + tasks.sums_bytes
    context.step(kernel, node, values, (node.outputs[0],), scratch_bytes=scratch_bytes, macs=geometry.macs)


def _emit_few_outputs(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    y_strides: tuple[int, int, int, int],
    kernel: KernelRow,
    flips: bool,
) -> None:
    units, columns = units_of(geometry, kernel), kernel.traits["columns"]
    fields, scratch_bytes = cut_amx_few_outputs(units, kernel, context)
    values: dict[str, int | float | str] = {
        **quantized_conv_values(node, context, units, numbers, kernel, y_strides), **fields, "tile_scratch": 0,
        "x": as_quads(node, context, node.inputs[0], geometry.channels, flips),
        "w": context.packed(
            node.inputs[3], f"{numbers.part}amx_folded{columns}.{kernel.family}",
            lambda _: pack_folded(as_units(numbers.weight, kernel), columns),
        ),
    }  # fmt: skip
    context.step(kernel, node, values, (node.outputs[0],), scratch_bytes=scratch_bytes, macs=geometry.macs)
