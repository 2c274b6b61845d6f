"""Convolutions of bytes whose pixels are no whole quads, with the taps of a kernel row side by side: when, packing."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv import choose_tile
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.conv_tasks import cut_tasks
from edgeinfer.plan.lowering.packed_weights import pack_columns
from edgeinfer.plan.lowering.quantized_numbers import Quantization, quantized_conv_values
from edgeinfer.plan.lowering.quantized_pictures import whole_quads
from edgeinfer.plan.lowering.units import width_of
from edgeinfer.plan.memory import align

# Quads at the end of a patch reach beyond it.
OVERHANG = 16


def packed_conv_kernel(context: LoweringContext, geometry: ConvGeometry, flips: bool) -> KernelRow | None:
    """The kernel for a convolution, None where there is none or whole quads for every pixel are no more.

    Kernels of bytes read x as it is, so not where bytes change their sign (``flips``).
    """
    words = context.kernels.family("qu8_wide_packed_conv")
    rows = words or ([] if flips else context.kernels.family("qu8_packed_conv"))
    applies = geometry.out_channels > context.kernels.lanes and packs_rows_of_taps(geometry)
    if not rows or not applies:
        return None
    return choose_tile(rows, geometry.out_width, geometry.out_channels, context.kernels.lanes)


def packs_rows_of_taps(geometry: ConvGeometry) -> bool:
    """Whether rows of taps can lie side by side, and are less than whole quads for every pixel."""
    return (
        geometry.groups == 1 and geometry.dilations == (1, 1) and geometry.upsample == (1, 1)
        and whole_quads(geometry.kernel[1] * geometry.channels) < geometry.kernel[1] * whole_quads(geometry.channels)
    )  # fmt: skip


def pack_rows_of_taps(weight: np.ndarray, kernel: KernelRow) -> np.ndarray:
    """int8 [out, channels, kh, kw] as [block, kh, unit, columns]: kernel rows [kw][channel] in quads or pairs."""
    width, (outputs, channels, height, taps) = width_of(kernel), weight.shape
    rows = np.zeros((outputs, height, math.ceil(taps * channels / width) * width), np.int8)
    rows[..., : taps * channels] = weight.transpose(0, 2, 3, 1).reshape(outputs, height, -1)
    units = rows.view({4: np.int32, 2: np.int16}[width])
    return pack_columns(np.ascontiguousarray(units.transpose(0, 2, 1))[..., None], 1, kernel.traits["columns"])


def emit_packed_conv(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    y_strides: tuple[int, int, int, int],
    kernel: KernelRow,
) -> None:
    """Append a direct convolution of bytes; ``y_strides`` as for ``FusedConv``."""
    rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    tasks = cut_tasks(geometry, rows, columns, context.threads, 4 // width_of(kernel))
    tile_scratch = align(tasks.patch_bytes + OVERHANG) // 4
    values: dict[str, int | float | str] = {
        **quantized_conv_values(node, context, geometry, numbers, kernel, y_strides), **tasks.fields(geometry.batch),
        "x": node.inputs[0],
        "flip": 0 if numbers.signed else 128, "tile_scratch": tile_scratch,
        "w": context.packed(
            node.inputs[3], f"{numbers.part}rows{columns}.{kernel.family}",
            lambda _: pack_rows_of_taps(numbers.weight, kernel),
        ),
    }  # fmt: skip
    scratch_bytes = 4 * (tile_scratch + rows * columns)
    context.step(kernel, node, values, (node.outputs[0],), scratch_bytes=scratch_bytes, macs=geometry.macs)
