"""Convolutions by the tile registers of Intel's AMX: how many units an instruction multiplies, estimates, tasks."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.conv_tasks import cut_tasks
from edgeinfer.plan.lowering.packed_weights import in_blocks
from edgeinfer.plan.memory import align
from edgeinfer.records import NamedTuple

# As in edgeinfer.simd.amx_tile and edgeinfer.kernels.amx_conv.
TILE_PIXELS, MOST_UNITS, BAND = 16, 16, 256
UNIT_BYTES, OFFSET_BYTES = 4, 8
# In the time of a vector multiply-add, of which two are done in a cycle: the products of 16 pixels, a chunk and 16
# output channels, loading 16 rows of a tile register, and what 16 pixels of 16 channels take until they are written.
PRODUCTS_COST, LOAD_COST, OUTPUT_COST = 32, 16, 40

# From so many units on the channels of a pixel are sorted into planes: with fewer it takes longer than it saves.
SORTED_UNITS = 64

# Processors with AMX have cores of one kind.
TASKS_PER_THREAD = 2


def chunk_units(run: int) -> int:
    """Units of a run of taps that one instruction multiplies: the run in as few equal parts as there can be."""
    parts = math.ceil(run / MOST_UNITS)
    while run % parts:
        parts += 1
    return run // parts


def run_of(units: ConvGeometry) -> tuple[int, int]:
    """Runs of neighbouring units, and units of a run; ``units`` counts channels in units."""
    height, width = units.kernel
    return (height, width * units.channels) if units.dilations[1] == 1 else (height * width, units.channels)


def amx_cycles(units: ConvGeometry, kernel: KernelRow, runs: int, run: int) -> float:
    """Estimated cycles, all threads together; two are one of the processor's."""
    vectors = kernel.traits["columns"] // TILE_PIXELS
    row_tiles = math.ceil(units.out_width / TILE_PIXELS)
    tiles = units.out_height * row_tiles
    if units.strides[0] == units.strides[1]:
        pitch = (units.out_width - 1) * units.strides[1] + (units.kernel[1] - 1) * units.dilations[1] + 1
        rows = max(1, min(units.out_height, BAND // (row_tiles * TILE_PIXELS)))
        joined = math.ceil(((rows - 1) * pitch + units.out_width) / TILE_PIXELS)
        tiles = min(tiles, math.ceil(units.out_height / rows) * joined)
    blocks = math.ceil(units.out_channels / kernel.traits["columns"])
    chunks = runs * run // chunk_units(run)
    # Two groups of pixels share the weights that are loaded.
    chunk_cost = max(vectors * PRODUCTS_COST, (1 + vectors / 2) * LOAD_COST)
    return units.batch * tiles * blocks * (chunks * chunk_cost + vectors * OUTPUT_COST)


def planes_of(units: ConvGeometry) -> int:
    """Planes into which the kernel sorts the channels of a patch, 1 where pixels stay whole."""
    has_planes = units.channels >= SORTED_UNITS and units.channels % MOST_UNITS == 0
    return units.channels // MOST_UNITS if has_planes and math.prod(units.kernel) > 1 else 1


def pack_amx_columns(weight: np.ndarray, columns: int, planes: int) -> np.ndarray:
    """Pack units [out, units, kh, kw] as [block, plane, kh, kw, unit, columns]."""
    (blocks,) = in_blocks(weight, 1, columns)
    sorted_units = blocks.reshape(*blocks.shape[:2], planes, -1, *blocks.shape[3:])
    return np.ascontiguousarray(sorted_units.transpose(0, 2, 4, 5, 3, 1))


class AmxTasks(NamedTuple):
    """Params fields of tasks, and the scratch memory of a worker.

    Attributes:
        fields: params fields, ``tile_scratch`` not among them.
        patch_bytes: bytes of scratch before a finished tile's place.
        sums_bytes: bytes of what lies behind that.
    """

    fields: dict[str, int | float | str]
    patch_bytes: int
    sums_bytes: int


def cut_amx(
    units: ConvGeometry, kernel: KernelRow, threads: int, runs: int, run: int, tile_bytes: int,
    channel_bytes: int = UNIT_BYTES, planes: int = 1,
) -> AmxTasks:  # fmt: skip
    """Cut a convolution into tasks.

    Args:
        units: the convolution's numbers, channels as the kernel counts them.
        kernel: the kernel.
        threads: number of workers.
        runs: runs of neighbouring taps.
        run: units of a run.
        tile_bytes: scratch memory of a finished tile.
        channel_bytes: bytes of what ``units.channels`` counts.
        planes: see ``planes_of``.
    """
    columns = kernel.traits["columns"]
    tasks = cut_tasks(units, TILE_PIXELS, columns, threads, channel_bytes, False, BAND, TASKS_PER_THREAD)
    pixel_bytes = units.strides[1] * units.channels * channel_bytes
    patch_bytes = align(tasks.patch_bytes + TILE_PIXELS * pixel_bytes + MOST_UNITS * UNIT_BYTES)
    sorted_patch = patch_bytes
    if planes > 1:
        patch_bytes += align(patch_bytes + planes * MOST_UNITS * UNIT_BYTES)
    # A band's last pixels are read as whole tiles.
    sums_bytes = align(tile_bytes) + (BAND + 2 * TILE_PIXELS) * columns * UNIT_BYTES
    chunk = MOST_UNITS if planes > 1 else chunk_units(run)
    fields = {
        **tasks.fields(units.batch), "chunk": chunk, "planes": planes, "sorted_patch": sorted_patch // UNIT_BYTES,
        "sums": (patch_bytes + align(tile_bytes)) // UNIT_BYTES, "offsets": (patch_bytes + sums_bytes) // UNIT_BYTES,
    }  # fmt: skip
    offsets_bytes = OFFSET_BYTES * (runs * run // chunk)
    return AmxTasks(fields, patch_bytes, sums_bytes + offsets_bytes)
