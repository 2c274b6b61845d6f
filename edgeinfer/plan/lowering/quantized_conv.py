"""Convolutions and matrix products of 8-bit tensors: packed weights, multipliers, bounds."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np

from edgeinfer.graph import FUSED, Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.conv import choose_tile, direct_cycles
from edgeinfer.plan.lowering.conv_few_outputs import (
    cut_few_outputs,
    few_outputs_applies,
    few_outputs_cycles,
    pack_folded,
)
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, activation_fields, conv_geometry, conv_values
from edgeinfer.plan.lowering.conv_tasks import cut_tasks
from edgeinfer.plan.lowering.depthwise import cut_depthwise, depthwise_applies, depthwise_family, pack_depthwise
from edgeinfer.plan.lowering.packed_weights import pack_columns
from edgeinfer.plan.lowering.quantized_amx_conv import FAMILIES as AMX_FAMILIES
from edgeinfer.plan.lowering.quantized_amx_conv import emit_quantized_amx, quantized_amx_choices
from edgeinfer.plan.lowering.quantized_depthwise import (
    channel_order,
    cut_integer_depthwise,
    image_rows_of,
    pack_integer_depthwise,
)
from edgeinfer.plan.lowering.quantized_numbers import (
    NO_SUM,
    Quantization,
    bias_less_zero_point,
    fill_unit,
    multipliers,
    quantized_bounds,
    quantized_conv_values,
    read_quantization,
)
from edgeinfer.plan.lowering.quantized_packed_conv import emit_packed_conv, packed_conv_kernel
from edgeinfer.plan.lowering.quantized_packing import in_halves, in_octets, multiplies_matrices
from edgeinfer.plan.lowering.quantized_pictures import QUAD, as_quads, repeated, whole_quads
from edgeinfer.plan.lowering.quantized_taps import emit_taps, product_of_taps, taps_apply
from edgeinfer.plan.lowering.quantized_winograd import (
    FEW_OUTPUTS_FAMILY,
    emit_quantized_winograd,
    quantized_winograd_choices,
)
from edgeinfer.plan.lowering.units import as_units, units_of
from edgeinfer.plan.signed_bytes import takes_signed_bytes

# float32 holds all whole numbers below.
EXACT_FLOATS = 1 << 24
# The large part of a bias is a multiple: 2**31 over it fits into float32's 24 bits.
LARGE_BIAS_UNIT = 1 << 16
LARGEST_WEIGHT = 127
# Kernels copy pixels by vectors of so many bytes.
VECTOR_BYTES = 16
# Cycles of a product of words instead of one of bytes on a processor without dot products.
WIDE_COST = 0.7
# What a vector of sums takes to become bytes, and a tile beside all that.
ROUNDING_INSTRUCTIONS, TILE_INSTRUCTIONS = 7, 25


@lowering("QConv", domain=FUSED)
def lower_quantized_conv(node: Node, context: LoweringContext) -> None:
    """Lower a quantized convolution in NHWC layout with constant weights and scales."""
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last convolutions have kernels")
    geometry = conv_geometry(node, context, weight=node.inputs[3])
    numbers = read_quantization(node, context, geometry.out_channels, 0)
    if geometry.is_pointwise and geometry.groups == 1:
        geometry = geometry.flattened()
    _, out_height, out_width, out_channels = context.shape(node.outputs[0])
    y_strides = (out_channels, out_width * out_channels, out_height * out_width * out_channels, 0)
    emit_quantized_conv(node, context, geometry, numbers, y_strides)


@lowering("QMatMul", domain=FUSED)
def lower_quantized_matmul(node: Node, context: LoweringContext) -> None:
    """Lower a product with a constant matrix as a pointwise convolution: rows are pixels, depth is channels."""
    a, b, y = node.inputs[0], node.inputs[3], node.outputs[0]
    if len(context.shape(b)) != 2:
        raise NotNative("the second factor is no matrix")
    depth, out_channels = context.shape(b)
    pixels = math.prod(context.shape(a)) // max(1, depth)
    numbers = read_quantization(node, context, out_channels, 1)
    weight = np.ascontiguousarray(numbers.weight.T).reshape(out_channels, depth, 1, 1)
    unit, none = (1, 1), (0, 0)
    geometry = ConvGeometry(
        1, 1, pixels, depth, 1, pixels, out_channels, 1, unit, unit, unit, none, unit, 0,
    )  # fmt: skip
    y_strides = (out_channels, pixels * out_channels, math.prod(context.shape(y)), 0)
    emit_quantized_conv(node, context, geometry, dataclasses.replace(numbers, weight=weight), y_strides)


def emit_quantized_conv(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    y_strides: tuple[int, int, int, int],
) -> None:
    """Append a convolution of bytes by what is estimated to be quickest; ``y_strides`` as for ``FusedConv``."""
    groups, channels = geometry.groups, geometry.channels
    if depthwise_applies(geometry, context.kernels.lanes):
        _emit_quantized_depthwise(node, context, geometry, numbers, y_strides)
        return
    x, times = node.inputs[0], _parts_of(numbers.weight, context)
    if groups > 1 and (channels % QUAD or times > 1):
        geometry, numbers = without_groups(geometry, numbers)
        groups, channels = 1, geometry.channels
    wide = _wide_kernel(context, geometry)
    if times > 1:
        x = repeated(node, context, x, channels, times)
        # The sum over i of floor((w + i) / n) is w.
        parts = [(numbers.weight.astype(np.int16) + index) // times for index in range(times)]
        channels *= times
        geometry, numbers = (
            geometry._replace(channels=channels),
            dataclasses.replace(numbers, weight=np.concatenate(parts, axis=1).astype(np.int8)),
        )
    elif numbers.weight.dtype != np.int8:
        # A part of the weights may fit where all together do not.
        numbers = dataclasses.replace(numbers, weight=numbers.weight.astype(np.int8))
    macs = geometry.macs
    flips = numbers.signed != takes_signed_bytes(context.kernels)
    chosen = _other_kernel(node, context, geometry, numbers, flips) if times == groups == 1 else None
    if chosen is not None:
        if chosen.family in AMX_FAMILIES:
            emit_quantized_amx(node, context, geometry, numbers, y_strides, chosen, flips)
        else:
            emit_quantized_winograd(node, context, geometry, numbers, y_strides, chosen)
        return
    gathers = times == 1 and taps_apply(geometry, y_strides)
    packed = packed_conv_kernel(context, geometry, flips) if times == 1 and not gathers else None
    if packed is not None:
        emit_packed_conv(node, context, geometry, numbers, y_strides, packed)
        return
    if gathers:
        x = emit_taps(node, context, geometry, numbers.x_zero_point ^ (128 * numbers.signed), flips)
        geometry, weight = product_of_taps(geometry, numbers.weight)
        numbers = dataclasses.replace(numbers, weight=weight, part=f"{numbers.part}taps.")
        y_strides = (y_strides[0], 0, 0, y_strides[3])
    else:
        x = as_quads(node, context, x, channels * groups, flips)
    group_channels, lanes = geometry.out_channels // groups, context.kernels.lanes
    kernel = choose_tile(context.kernels.family("qu8_conv"), geometry.out_width, group_channels, lanes)
    few = context.kernels.only("qu8_conv_few_outputs")
    quads = units_of(geometry, kernel)
    cycles = direct_cycles(quads, kernel, lanes) * (WIDE_COST if wide is not None else 1)
    use_few = few_outputs_applies(quads, lanes) and few_outputs_cycles(quads, few, lanes) < cycles
    kernel = few if use_few else kernel
    is_product = not use_few and _is_plain_product(node, geometry, numbers)
    if not use_few and wide is not None:
        rows = _pointwise_rows(context, "qu8_wide_pointwise", geometry) if is_product else []
        same_tile = (row for row in rows if all(row.traits[name] == wide.traits[name] for name in ("rows", "columns")))
        kernel = next(same_tile, wide)
        quads = units_of(geometry._replace(channels=whole_quads(geometry.channels)), kernel)
    elif is_product:
        kernel = _pointwise_kernel(context, kernel, geometry)
    columns = kernel.traits["columns"]
    values: dict[str, int | float | str] = {
        **quantized_conv_values(node, context, quads, numbers, kernel, y_strides, groups), "x": x, "tile_scratch": 0,
    }  # fmt: skip
    if use_few:
        cut = cut_few_outputs(quads, kernel, context.threads, lanes)
        values |= cut.fields(geometry.batch)
        values["w"] = context.packed(
            node.inputs[3],
            f"{numbers.part}folded_quads{columns}x{quads.channels}",
            lambda _: in_halves(pack_folded(as_units(numbers.weight, kernel), columns), kernel),
        )
        scratch = 4 * cut.scratch_floats
    else:
        tasks = cut_tasks(quads, kernel.traits["rows"], columns, context.threads)
        values |= tasks.fields(geometry.batch * groups)
        if kernel.traits.get("words"):
            values["x_channels"] = whole_quads(geometry.channels)
        values["tile_scratch"] = math.ceil(tasks.patch_bytes / 64) * 16 + 16
        run = quads.channels * (quads.kernel[1] if quads.dilations[1] == 1 else 1)
        pairs = f".octets{run}" if multiplies_matrices(kernel) else ""
        values["w"] = context.packed(
            node.inputs[3], f"{numbers.part}quads{groups}x{columns}x{quads.channels}.{kernel.family}{pairs}",
            lambda _: in_octets(
                in_halves(pack_columns(_units_of_weight(numbers.weight, kernel), groups, columns), kernel), kernel, run
            ),
        )  # fmt: skip
        scratch = 4 * (values["tile_scratch"] + kernel.traits["rows"] * columns)
    context.step(kernel, node, values, (node.outputs[0],), scratch_bytes=scratch, macs=macs)


def _other_kernel(
    node: Node, context: LoweringContext, geometry: ConvGeometry, numbers: Quantization, flips: bool
) -> KernelRow | None:
    """The kernel of Winograd or AMX chosen for the node or estimated to be quickest; None for vectors' products."""
    rows, lanes = context.kernels.family("qu8_conv"), context.kernels.lanes
    direct = choose_tile(rows, geometry.out_width, geometry.out_channels, lanes)
    quads = units_of(geometry, direct)
    cycles = direct_cycles(quads, direct, lanes)
    if few_outputs_applies(quads, lanes):
        cycles = min(cycles, few_outputs_cycles(quads, context.kernels.only("qu8_conv_few_outputs"), lanes))
    choices = quantized_winograd_choices(geometry, numbers, context, direct.traits["word_cost"])
    if numbers.y_scale is None and activation_fields(node)["activation"]:
        # These kernels bound float32, and do no other activation of it.
        choices = [choice for choice in choices if choice[1].family != FEW_OUTPUTS_FAMILY]
    choices += quantized_amx_choices(geometry, context, flips)
    choices.append((cycles * direct.traits["quad_cost"], direct))
    choices.sort(key=lambda choice: choice[0])
    context.candidates.setdefault(node.name, [kernel.name for _, kernel in choices])
    chosen = context.choices.get(node.name)
    kernel = next((kernel for _, kernel in choices if kernel.name == chosen), choices[0][1])
    return None if kernel is direct else kernel


def _units_of_weight(weight: np.ndarray, kernel: KernelRow) -> np.ndarray:
    """int8 weights as units of the kernel: quads, or pairs with zeros behind the last channel up to a whole quad."""
    if not kernel.traits.get("words"):
        return as_units(weight, kernel)
    padded = np.pad(weight, ((0, 0), (0, -weight.shape[1] % QUAD), (0, 0), (0, 0)))
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(padded, 1, -1)).view(np.int16), -1, 1)


def _wide_kernel(context: LoweringContext, geometry: ConvGeometry) -> KernelRow | None:
    """The best kernel that multiplies words, None where the level has none or none fits."""
    rows = context.kernels.family("qu8_wide_conv")
    if not rows or geometry.groups > 1 or geometry.upsample != (1, 1) or geometry.out_width == 1:
        return None
    return choose_tile(rows, geometry.out_width, geometry.out_channels, context.kernels.lanes)


def _is_plain_product(node: Node, geometry: ConvGeometry, numbers: Quantization) -> bool:
    """Whether a convolution is a matrix product whose tiles may be written twice."""
    in_one_row = geometry.is_pointwise and geometry.groups == 1 and geometry.batch * geometry.out_height == 1
    return in_one_row and _gives_plain_bytes(node, numbers)


def _gives_plain_bytes(node: Node, numbers: Quantization) -> bool:
    """Whether sums are rounded and bounded, and nothing else."""
    return numbers.y_scale is not None and not activation_fields(node)["activation"]


def _pointwise_rows(context: LoweringContext, family: str, geometry: ConvGeometry) -> list[KernelRow]:
    """Kernels for matrix products whose tiles are no higher than the matrix."""
    return [row for row in context.kernels.family(family) if row.traits["rows"] <= geometry.out_width]


def _pointwise_kernel(context: LoweringContext, kernel: KernelRow, geometry: ConvGeometry) -> KernelRow:
    """The best kernel for matrix products, or ``kernel`` where there are too few pixels for one."""
    rows = _pointwise_rows(context, "qu8_pointwise", geometry)
    if not rows or kernel.traits["rows"] == 1:
        return kernel
    lanes, quads = context.kernels.lanes, math.ceil(geometry.channels / QUAD)

    def instructions(row: KernelRow) -> float:
        height, vectors = row.traits["rows"], row.traits["columns"] // lanes
        tiles = math.ceil(geometry.out_width / height) * math.ceil(geometry.out_channels / row.traits["columns"])
        products = quads * (height * vectors + 0.5 * vectors + 0.75 * height)
        return tiles * (products + ROUNDING_INSTRUCTIONS * height * vectors + TILE_INSTRUCTIONS)

    return min(rows, key=instructions)


def _parts_of(weight: np.ndarray, context: LoweringContext) -> int:
    """Of how many weights that the kernels can take each weight must be the sum; kernels of halves take no -128."""
    least, most = int(weight.min(initial=0)), int(weight.max(initial=0))
    lowest = -127 if context.kernels.family("qu8_conv")[0].traits.get("halves") else -128
    return 1 if lowest <= least and most <= LARGEST_WEIGHT else math.ceil(max(-least, most) / LARGEST_WEIGHT)


def without_groups(geometry: ConvGeometry, numbers: Quantization) -> tuple[ConvGeometry, Quantization]:
    """The same convolution with all channels in one group: weights between different groups are 0."""
    groups, channels = geometry.groups, geometry.channels
    out_channels = geometry.out_channels // groups
    dense = np.zeros((geometry.out_channels, groups * channels, *geometry.kernel), numbers.weight.dtype)
    for group in range(groups):
        rows = slice(group * out_channels, (group + 1) * out_channels)
        dense[rows, group * channels : (group + 1) * channels] = numbers.weight[rows]
    geometry = geometry._replace(groups=1, channels=groups * channels)
    return geometry, dataclasses.replace(numbers, weight=dense)


def _emit_quantized_depthwise(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    y_strides: tuple[int, int, int, int],
) -> None:
    channels, factors = geometry.out_channels, multipliers(node, numbers)
    rows = context.kernels.family(depthwise_family(geometry, "i8"))
    integer = next((row for row in rows if _integer_depthwise_applies(row, geometry, numbers.weight)), None)
    flips = numbers.signed != takes_signed_bytes(context.kernels)
    if integer is None or not _gives_plain_bytes(node, numbers) or (flips and channels % QUAD):
        fixed_size = context.kernels.family(depthwise_family(geometry, "qu8"))
        kernel, bias = (fixed_size or context.kernels.family("qu8_dwconv"))[0], _float_bias(numbers)
        tasks = cut_depthwise(geometry, kernel, context.threads, 1)
        packing, pack = "depthwise", partial(pack_depthwise, lanes=context.kernels.lanes, dtype=kernel.float_dtype)
    else:
        kernel, bias = integer, bias_less_zero_point(numbers, integer)
        tasks, stride = cut_integer_depthwise(geometry, integer, context.threads), geometry.strides[0]
        packing = f"depthwise{stride}.{integer.name}"
        pack = partial(pack_integer_depthwise, kernel=integer, stride=stride)
        if integer.traits.get("blocks"):
            order = channel_order(channels, integer)
            bias, factors = bias[order], factors[order]
    flips = flips if kernel is integer else numbers.signed
    x = as_quads(node, context, node.inputs[0], channels, True) if flips else node.inputs[0]
    if context.shape(x)[-1] != channels:
        raise NotNative(f"{channels} channels of signed bytes; there are only kernels for multiples of {QUAD}")
    values: dict[str, int | float | str] = {
        **conv_values(node, geometry, y_strides), **quantized_bounds(node, context, numbers), **tasks.fields,
        "x": x, "residual": "", "y": node.outputs[0], "fill": fill_unit(numbers, kernel), **NO_SUM,
        "tile_scratch": tasks.scratch_bytes // 4,
        "w": context.packed(node.inputs[3], f"{numbers.part}{packing}", lambda _: pack(numbers.weight)),
        "bias": context.new_constant(f"{node.name}.bias", bias),
        "multipliers": context.new_constant(f"{node.name}.multipliers", factors),
    }  # fmt: skip
    scratch = tasks.scratch_bytes + 4 * kernel.traits["rows"] * kernel.traits["columns"]
    context.step(kernel, node, values, (node.outputs[0],), scratch_bytes=scratch, macs=geometry.macs)


def _float_bias(numbers: Quantization) -> np.ndarray:
    """The bias less what the zero point of x adds, as a small and a large part."""
    bias = numbers.bias.astype(np.int64) - numbers.x_zero_point * numbers.sums
    large_bias = np.rint(bias / LARGE_BIAS_UNIT).astype(np.int64) * LARGE_BIAS_UNIT
    # No partial sum may leave the whole numbers that float32 holds; nor the large part of the bias.
    if (LARGE_BIAS_UNIT + 255 * numbers.absolute_sums).max(initial=0) >= EXACT_FLOATS:
        raise NotNative("sums beyond 2**24; depthwise kernels add up in float32")
    return np.stack([bias - large_bias, large_bias]).astype(np.float32)


def _integer_depthwise_applies(kernel: KernelRow, geometry: ConvGeometry, weight: np.ndarray) -> bool:
    """Whether a kernel that multiplies bytes takes these weights, and its tile fits."""
    least = max(VECTOR_BYTES, kernel.traits["columns"])
    fits = (
        geometry.out_width >= kernel.traits["rows"] and geometry.out_height >= image_rows_of(kernel)
        and geometry.out_channels >= least and geometry.strides[0] == geometry.strides[1]
    )  # fmt: skip
    return fits and weight.dtype == np.int8 and int(weight.min(initial=0)) >= -LARGEST_WEIGHT
