"""Convolution: which kernel and tile, how weights are packed, how the picture is cut into tasks."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgeinfer.graph import FUSED, Node
from edgeinfer.plan.border import BORDER_INPUT
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.conv_few_outputs import emit_few_outputs, few_outputs_applies, few_outputs_cycles
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, FusedConv, activation_fields, conv_geometry, pack_bias
from edgeinfer.plan.lowering.conv_tasks import cut_tasks
from edgeinfer.plan.lowering.conv_upsample import phase_convs, upsample_applies
from edgeinfer.plan.lowering.depthwise import depthwise_applies, depthwise_family, emit_depthwise
from edgeinfer.plan.lowering.packed_weights import packed_columns
from edgeinfer.plan.lowering.units import units_of
from edgeinfer.plan.lowering.winograd import FAMILIES as WINOGRAD_FAMILIES
from edgeinfer.plan.lowering.winograd import emit_winograd, winograd_applies, winograd_cycles
from edgeinfer.plan.lowering.winograd_few_outputs import (
    emit_winograd_few_outputs,
    winograd_few_outputs_applies,
    winograd_few_outputs_cycles,
)
from edgeinfer.plan.lowering.winograd_parts import (
    emit_winograd_parts,
    winograd_parts_applies,
    winograd_parts_cycles,
)
from edgeinfer.plan.lowering.winograd_pixels import (
    emit_winograd_pixels,
    winograd_pixels_applies,
    winograd_pixels_cycles,
)

Emit = Callable[[FusedConv, LoweringContext, KernelRow], None]
# Estimated cycles, what emits it, and its kernel.
Choice = tuple[float, Emit, KernelRow]

# A patch of narrower numbers is written in whole vectors.
PATCH_OVERHANG = 64
# By rows and vectors of tiles of products of words: what they took on Zen 3 beside the quickest.
WORD_TILE_COSTS = {(4, 2): 1.17, (5, 2): 1.03, (7, 1): 1.1}

# What a load takes of a multiply-add's time, as measured: on Zen 3, and with vectors of 512 bits on Granite Rapids.
LOADS_PACE, LOADS_PACE_512 = 0.9, 1.1
LANES_512 = 16
# A block's weights beyond this size come from the second-level cache for every tile, no quicker than tiles of so many
# rows need them.
FIRST_LEVEL_BYTES = 24 * 1024
WEIGHTS_PACE = 4.5


def choose_tile(rows: list[KernelRow], out_width: int, out_channels: int, lanes: int, summands: int = 0) -> KernelRow:
    """The kernel whose tiles waste the least on an output of this width and number of channels.

    ``summands`` counts the units that are added up for an output, 0 where weights do not matter.
    """

    def cycles(row: KernelRow) -> float:
        columns = row.traits["columns"]
        work = tiled_width(row, out_width, lanes) * math.ceil(out_channels / columns) * columns
        return work * tile_cost(row, lanes, summands)

    return min(rows, key=cycles)


def tile_cost(kernel: KernelRow, lanes: int, summands: int = 0) -> float:
    """How long a kernel's tile takes for each multiply-add, beside one that nothing holds up; see ``choose_tile``."""
    height, vectors = kernel.traits["rows"], kernel.traits["columns"] // lanes
    if kernel.traits.get("words"):
        return WORD_TILE_COSTS.get((height, vectors), 1.0)
    # A tile of r rows and v vectors loads r + v registers for r * v multiply-adds; near one load for each multiply-add
    # the loads set the pace.
    loads = LOADS_PACE_512 if lanes == LANES_512 else LOADS_PACE
    cost = max(1.0, 0.2 + loads * (height + vectors) / (height * vectors))
    if summands * kernel.traits["columns"] * kernel.element_bytes > FIRST_LEVEL_BYTES:
        # A tile reads v vectors of weights for r * v multiply-adds.
        cost = max(cost, WEIGHTS_PACE / height)
    return cost


def tiled_width(kernel: KernelRow, out_width: int, lanes: int) -> int:
    """Pixels that tiles compute for a row of pixels; kernels with ``rest_vectors`` do a single one that is left."""
    height, vectors = kernel.traits["rows"], kernel.traits["columns"] // lanes
    if out_width % height == 1 and vectors >= kernel.traits.get("rest_vectors", vectors + 1):
        return out_width
    return math.ceil(out_width / height) * height


def direct_cycles(geometry: ConvGeometry, kernel: KernelRow, lanes: int) -> float:
    """Estimated cycles of a direct convolution, all threads together: one vector multiply-add a cycle."""
    columns = kernel.traits["columns"]
    pixels = geometry.batch * geometry.out_height * tiled_width(kernel, geometry.out_width, lanes)
    taps = geometry.channels * geometry.kernel[0] * geometry.kernel[1]
    group_channels = geometry.out_channels // geometry.groups
    return pixels * taps * geometry.groups * math.ceil(group_channels / columns) * columns / lanes


def _waiting_cycles(units: ConvGeometry, kernel: KernelRow) -> float:
    """How long a direct convolution waits for its weights, where they are known to arrive slowly."""
    slow = kernel.traits.get("weight_bytes")
    outputs = math.ceil(units.out_channels / kernel.traits["columns"]) * kernel.traits["columns"]
    weights = outputs * units.channels * units.kernel[0] * units.kernel[1] * kernel.element_bytes
    return weights / slow if slow else 0


@lowering("Conv", domain=FUSED)
def lower_conv(node: Node, context: LoweringContext) -> None:
    """Lower a fused convolution in NHWC layout with constant weights."""
    x, weight, bias, residual, y = *(node.input(index) for index in range(4)), node.outputs[0]
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last convolutions have kernels")
    context.float_kernels(x, residual)
    if context.constant(weight) is None or (bias and context.constant(bias) is None):
        raise NotNative("the weights are computed at run time")
    geometry = conv_geometry(node, context)
    if node.input(BORDER_INPUT) and not depthwise_applies(geometry, context.kernels.lanes):
        raise NotNative("only depthwise convolutions have kernels with border values")
    if geometry.is_pointwise and geometry.groups == 1:
        geometry = geometry.flattened()
    _, height, width, channels = context.shape(y)
    strides = (channels, width * channels, height * width * channels, 0)
    emit_conv(FusedConv(node, geometry, x, weight, bias, residual, y, strides), context)


def emit_conv(conv: FusedConv, context: LoweringContext) -> None:
    """Append the convolution by whichever algorithm is estimated to be quicker."""
    geometry, numbers = conv.geometry, context.float_kernels(conv.x)
    if depthwise_applies(geometry, context.kernels.lanes_of(numbers)):
        emit_depthwise(conv, context, context.kernels.only(depthwise_family(geometry, numbers)))
        return
    cycles, emit, kernel = choose_algorithm(conv.node, geometry, context, numbers)
    if upsample_applies(geometry):
        phases = phase_convs(geometry, conv.y_strides)
        if sum(choose_algorithm(conv.node, phase.geometry, context, numbers)[0] for phase in phases) < cycles:
            for phase in phases:
                merged = context.packed(conv.weight, phase.name, phase.merge)
                own = conv._replace(geometry=phase.geometry, weight=merged, y_strides=phase.y_strides)
                emit_conv(own, context)
            return
    emit(conv, context, kernel)


def choose_algorithm(node: Node, geometry: ConvGeometry, context: LoweringContext, numbers: str) -> Choice:
    """The algorithm chosen for the node, else the one estimated to be quickest: cycles, what emits it, kernel."""
    key = "convolutions", geometry, numbers, context.threads
    choices = context.once(key, lambda: _all_choices(geometry, context, numbers))
    if node.name not in context.candidates:
        context.candidates[node.name] = [kernel.name for _, _, kernel in choices]
    chosen = context.choices.get(node.name)
    return next((choice for choice in choices if choice[2].name == chosen), choices[0])


def _all_choices(geometry: ConvGeometry, context: LoweringContext, numbers: str) -> list[Choice]:
    """What ``choose_algorithm`` chooses from, the one estimated to be quickest first."""
    choices = _choices(geometry, context, numbers)
    if context.precision == "bfloat16":
        if context.kernels.family("bf16_conv") and geometry.groups == 1 and geometry.channels % 2 == 0:
            choices += _choices(geometry, context, "bf16")
        # Imported where it is asked for alone: every start would take longer.
        from edgeinfer.plan.lowering.bfloat16_amx_conv import bfloat16_amx_choices

        choices += bfloat16_amx_choices(geometry, context)
    return sorted(choices, key=lambda choice: choice[0])


def _choices(geometry: ConvGeometry, context: LoweringContext, products: str) -> list[Choice]:
    """Those with products of one number format."""
    threads, kernels = context.threads, context.kernels
    rows = kernels.family(f"{products}_conv")
    if not rows:
        raise NotNative(f"there are no {products} convolutions at this level")
    lanes = kernels.lanes_of(rows[0])
    group_channels = geometry.out_channels // geometry.groups
    summands = units_of(geometry, rows[0]).channels * math.prod(geometry.kernel)
    direct = choose_tile(rows, geometry.out_width, group_channels, lanes, summands)
    units = units_of(geometry, direct)
    cycles = direct_cycles(units, direct, lanes) + _waiting_cycles(units, direct)
    choices: list[Choice] = [(cycles, emit_direct_conv, direct)]
    # Other tiles are there to be tried by whoever tunes.
    choices += [(cycles + 1, emit_direct_conv, row) for row in rows if row is not direct]
    for family in () if geometry.kernel == (1, 1) else WINOGRAD_FAMILIES:
        for kernel in kernels.family(f"{products}_{family}"):
            if winograd_applies(geometry, kernel):
                choices.append((winograd_cycles(geometry, kernel, threads, lanes), emit_winograd, kernel))
    if winograd_parts_applies(geometry) and kernels.family(f"{products}_winograd_parts"):
        kernel = kernels.only(f"{products}_winograd_parts")
        choices.append((winograd_parts_cycles(geometry, kernel, threads, lanes), emit_winograd_parts, kernel))
    if few_outputs_applies(geometry, lanes) and kernels.family(f"{products}_conv_few_outputs"):
        kernel = kernels.only(f"{products}_conv_few_outputs")
        choices.append((few_outputs_cycles(units, kernel, lanes), emit_few_outputs, kernel))
    if winograd_few_outputs_applies(geometry, lanes) and kernels.family(f"{products}_winograd_few_outputs"):
        kernel = kernels.only(f"{products}_winograd_few_outputs")
        choices.append((winograd_few_outputs_cycles(geometry, kernel, lanes), emit_winograd_few_outputs, kernel))
    for kernel in kernels.family(f"{products}_winograd_pixels"):
        if winograd_pixels_applies(geometry, kernel):
            choices.append((winograd_pixels_cycles(geometry, kernel, threads, lanes), emit_winograd_pixels, kernel))
    return choices


def emit_direct_conv(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> None:
    """Append a direct convolution by a kernel of family ``f32_conv``, ``f16_conv`` or ``bf16_conv``."""
    geometry, units = conv.geometry, units_of(conv.geometry, kernel)
    rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    written_twice = activation_fields(conv.node)["activation"] != 0
    tasks = cut_tasks(units, rows, columns, context.threads, kernel.element_bytes, written_twice)
    values = {
        **tasks.fields(geometry.batch * geometry.groups), "channels": units.channels,
        "bias": pack_bias(conv, context, kernel), "w": packed_columns(context, conv.weight, kernel, geometry.groups),
    }  # fmt: skip
    conv.append(context, kernel, values, tasks.patch_bytes + PATCH_OVERHANG)
