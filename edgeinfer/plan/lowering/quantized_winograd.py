"""Winograd convolutions of 8-bit tensors: when sums stay exact and it pays, how filters are packed."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.packed_weights import filtering_of
from edgeinfer.plan.lowering.quantized_numbers import Quantization, quantized_conv_values
from edgeinfer.plan.lowering.quantized_pictures import as_quads, whole_quads
from edgeinfer.plan.lowering.winograd import winograd_applies, winograd_costs, winograd_scratch, winograd_tasks
from edgeinfer.plan.lowering.winograd_few_outputs import (
    cut_columns_of_groups,
    folded_taps,
    winograd_few_outputs_applies,
    winograd_few_outputs_cycles,
)
from edgeinfer.plan.lowering.winograd_parts import (
    cut_parts,
    part_weights,
    winograd_parts_applies,
    winograd_parts_cycles,
)

PARTS_FAMILY = "qu8_winograd_parts"
FEW_OUTPUTS_FAMILY = "qu8_winograd_few_outputs"
FAMILIES = (
    "qu8_winograd4x4", "qu8_winograd2x2", "qu8_winograd4x4_stride2_3x3", "qu8_winograd2x2_stride2_3x3",
)  # fmt: skip
# G made whole, and bits that a sum may have beside its sign; by output pixels and taps along one axis. See
# edgeinfer.kernels.word_transforms.
FILTER_ROWS = {
    (2, 3): ((2, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 2)),
    (4, 3): ((3, 0, 0), (-2, -2, -2), (-2, 2, -2), (1, 2, 4), (1, -2, 4), (0, 0, 12)),
    (2, 2): ((1, 0), (1, 1), (0, 1)),
    (4, 2): ((3, 0), (-3, -3), (-1, 1), (1, 2), (0, 6)),
    (3, 3): ((3, 0, 0), (-3, -3, -3), (-1, 1, -1), (1, 2, 4), (0, 0, 6)),
}
SUM_BITS = {(2, 3): 29, (4, 3): 25, (2, 2): 31, (4, 2): 29, (3, 3): 29}
# Those of F(4, 3) along one axis alone.
SUM_BITS_OF_COLUMNS = 28
# The largest magnitude of x as kernels see it.
LARGEST_X = 128


def sums_fit(sums: np.ndarray, kernel: KernelRow) -> bool:
    """Whether a kernel's sums stay exact for any x; ``sums`` are those of the weights' magnitudes."""
    few = kernel.family == FEW_OUTPUTS_FAMILY
    bits = SUM_BITS_OF_COLUMNS if few else SUM_BITS[filtering_of(kernel)[:2]]
    return bool((LARGEST_X * sums < 1 << bits).all())


def quantized_winograd_choices(
    geometry: ConvGeometry, numbers: Quantization, context: LoweringContext, word_cost: float
) -> list[tuple[float, KernelRow]]:
    """Kernels that compute a convolution of bytes, and how many vector multiply-adds take as long.

    ``word_cost`` is what a product of a vector of words takes in that time. Reading filters adds to it: words need
    them twice as fast as floats do.
    """
    if geometry.kernel == (1, 1):
        return []
    lanes, choices = context.kernels.lanes, []
    for family in FAMILIES:
        for kernel in context.kernels.family(family):
            if winograd_applies(geometry, kernel) and sums_fit(numbers.absolute_sums, kernel):
                costs = winograd_costs(padded_pairs(geometry, lanes), kernel, context.threads, lanes)
                choices.append((costs.products * word_cost + costs.filters + costs.transforms, kernel))
    for kernel in context.kernels.family(PARTS_FAMILY) if winograd_parts_applies(geometry) else ():
        if sums_fit(numbers.absolute_sums, kernel):
            cycles = winograd_parts_cycles(pairs_of_quads(geometry), kernel, context.threads, lanes)
            choices.append((cycles * word_cost, kernel))
    for kernel in context.kernels.family(FEW_OUTPUTS_FAMILY) if winograd_few_outputs_applies(geometry, lanes) else ():
        if sums_fit(numbers.absolute_sums, kernel):
            cycles = winograd_few_outputs_cycles(pairs_of_quads(geometry), kernel, lanes)
            choices.append((cycles * word_cost, kernel))
    return choices


def pairs_of_quads(geometry: ConvGeometry) -> ConvGeometry:
    """The geometry with channels counted in pairs of whole quads; its MACs are not the convolution's."""
    return geometry._replace(channels=whole_quads(geometry.channels) // 2)


def padded_pairs(geometry: ConvGeometry, lanes: int) -> ConvGeometry:
    """The geometry with channels counted in pairs, whole vectors of them; its MACs are not the convolution's."""
    return geometry._replace(channels=math.ceil(geometry.channels / 2 / lanes) * lanes)


def pack_word_filters(weight: np.ndarray, kernel: KernelRow, pairs: int) -> np.ndarray:
    """int8 [out, channels, 3, 3] as int32 [block, those of all frequencies, columns]: transformed, two words in each.

    Filters of a frequency are [row's phase][column's phase][pair], without phases that have nothing there.
    """
    columns, filtering = kernel.traits["columns"], filtering_of(kernel)
    rows, stride = FILTER_ROWS[filtering[:2]], filtering.stride
    blocks, last = math.ceil(len(weight) / columns), filtering.size - 1
    packed = np.zeros((blocks, filtering.products, pairs, columns, 2), np.int16)
    for block in range(blocks):
        taps = _taps_of_pairs(weight[block * columns : (block + 1) * columns], pairs, columns)
        phases = {
            (row, column): transformed(transformed(taps[row::stride, column::stride], rows).swapaxes(0, 1), rows)
            for row in range(stride)
            for column in range(stride)
        }
        place = 0
        for i in range(filtering.size):
            for j in range(filtering.size):
                for row in range(1 if i == last else stride):
                    for column in range(1 if j == last else stride):
                        packed[block, place] = phases[row, column][j, i]
                        place += 1
    return packed.view(np.int32).reshape(blocks, filtering.products * pairs, columns)


def _taps_of_pairs(weight: np.ndarray, pairs: int, columns: int) -> np.ndarray:
    """int8 [out, channels, kh, kw] as int16 [kh, kw, pair, columns, 2], zeros beyond the last of each."""
    outputs, channels, height, width = weight.shape
    taps = np.zeros((height, width, pairs, columns, 2), np.int16)
    by_channel = weight.transpose(2, 3, 1, 0)
    taps[:, :, : math.ceil(channels / 2), :outputs, 0] = by_channel[:, :, 0::2]
    taps[:, :, : channels // 2, :outputs, 1] = by_channel[:, :, 1::2]
    return taps


def transformed(taps: np.ndarray, rows: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """The product of a matrix and taps along axis 0, those at hand of its columns, in words."""
    result = np.empty((len(rows), *taps.shape[1:]), np.int16)
    for row, total in zip(rows, result, strict=True):
        terms = [(factor, tap) for factor, tap in zip(row, taps, strict=False) if factor]
        if not terms:
            total[:] = 0
        for index, (factor, tap) in enumerate(terms):
            product = tap if factor == 1 else np.int16(factor) * tap
            total[:] = product if index == 0 else total + product
    return result


def pack_word_parts(weight: np.ndarray, kernel: KernelRow, pairs: int) -> np.ndarray:
    """int8 [out, channels, kh, kw] as ``pack_word_filters`` with [part down][part across][pair] as pairs."""
    whole = np.pad(weight, ((0, 0), (0, 2 * pairs - weight.shape[1]), (0, 0), (0, 0)))
    parts = part_weights(whole)
    return pack_word_filters(parts, kernel, parts.shape[1] // 2)


def pack_folded_words(weight: np.ndarray, kernel: KernelRow, pairs: int) -> np.ndarray:
    """int8 [out, channels, kh, kw] as int32 [block, frequency, part, pair, columns], two words in each."""
    whole = np.pad(weight, ((0, 0), (0, 2 * pairs - weight.shape[1]), (0, 0), (0, 0)))
    taps = folded_taps(whole, kernel.traits["columns"])
    words = transformed(taps.astype(np.int16), FILTER_ROWS[4, 3])
    shape = words.shape
    in_pairs = np.moveaxis(words.reshape(*shape[:3], pairs, 2, shape[-1]), (0, 4), (1, 5))
    return np.ascontiguousarray(in_pairs).view(np.int32)[..., 0]


def emit_quantized_winograd(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    numbers: Quantization,
    y_strides: tuple[int, int, int, int],
    kernel: KernelRow,
) -> None:
    """Append a Winograd convolution of bytes; ``y_strides`` as for ``FusedConv``."""
    lanes, columns = context.kernels.lanes, kernel.traits["columns"]
    if kernel.family == PARTS_FAMILY:
        pairs, pack = pairs_of_quads(geometry).channels, pack_word_parts
        tasks, floats = cut_parts(pairs_of_quads(geometry), kernel, context.threads, lanes)
    elif kernel.family == FEW_OUTPUTS_FAMILY:
        pairs, pack = pairs_of_quads(geometry).channels, pack_folded_words
        tasks, floats = cut_columns_of_groups(pairs_of_quads(geometry), kernel, context.threads, lanes)
    else:
        pairs, pack = padded_pairs(geometry, lanes).channels, pack_word_filters
        tasks, floats = _cut_tiles(padded_pairs(geometry, lanes), kernel, context.threads, lanes)
    values: dict[str, int | float | str] = {
        **quantized_conv_values(node, context, geometry, numbers, kernel, y_strides), **tasks,
        "x": as_quads(node, context, node.inputs[0], geometry.channels, flips=False),
        "channels": pairs, "x_channels": whole_quads(geometry.channels), "flip": 0 if numbers.signed else 128,
        "tile_scratch": floats,
        "w": context.packed(
            node.inputs[3], f"{numbers.part}words{pairs}x{columns}.{kernel.family}",
            lambda _: pack(numbers.weight, kernel, pairs),
        ),
    }  # fmt: skip
    scratch_bytes = 4 * (floats + filtering_of(kernel).output * lanes)
    context.step(kernel, node, values, (node.outputs[0],), scratch_bytes=scratch_bytes, macs=geometry.macs)


def _cut_tiles(
    units: ConvGeometry, kernel: KernelRow, threads: int, lanes: int
) -> tuple[dict[str, int | float | str], int]:
    """Params fields of tasks, and units of scratch memory."""
    tasks = winograd_tasks(units, kernel, threads, lanes)
    return tasks.values(units.batch), winograd_scratch(units, kernel, tasks, lanes)
