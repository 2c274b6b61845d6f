"""Winograd convolution: when it pays, how filters are packed and the picture is cut into tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry, conv_values, pack_bias

OUTPUT = 4
INPUT = 6
FREQUENCIES = INPUT * INPUT

# G of F(4x4, 3x3): Lavin and Gray, 2015.
FILTER_TRANSFORM = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)

# The transformed input of one task should leave room for the filters in the second-level cache.
FREQUENCY_BYTES = 600 * 1024
MAX_TILES = 64
MIN_CHANNELS = 8

# Cycles to transform one tile of one vector of channels there, or back; measured on Zen 4.
TRANSFORM_CYCLES = 180
# Bytes of filters that arrive in a cycle from beyond the second-level cache.
FILTER_BYTES_PER_CYCLE = 8


@dataclass(frozen=True)
class TileTasks:
    """Tiles of a task along each axis, and tasks along each axis."""

    rows: int
    columns: int
    row_tasks: int
    column_tasks: int

    def values(self, batch: int) -> dict[str, int | float | str]:
        """The kernel's params fields."""
        return {
            "task_rows": self.rows, "task_columns": self.columns, "row_tasks": self.row_tasks,
            "column_tasks": self.column_tasks, "tiles": batch * self.row_tasks * self.column_tasks,
        }  # fmt: skip


def _whole_vectors(channels: int, lanes: int) -> int:
    return math.ceil(channels / lanes) * lanes


def pack_filters(weight: np.ndarray, columns: int) -> np.ndarray:
    """Transform [out, channels, 3, 3] and pack it as [block, frequency, channel, columns] (float64 inside)."""
    out_channels, channels = weight.shape[:2]
    transformed = np.einsum("ik,ockl,jl->ijco", FILTER_TRANSFORM, weight.astype(np.float64), FILTER_TRANSFORM)
    blocks = math.ceil(out_channels / columns)
    padded = np.zeros((FREQUENCIES, channels, blocks * columns), np.float32)
    padded[:, :, :out_channels] = transformed.reshape(FREQUENCIES, channels, out_channels)
    return np.ascontiguousarray(padded.reshape(FREQUENCIES, channels, blocks, columns).transpose(2, 0, 1, 3))


def cut_tile_tasks(geometry: ConvGeometry, tile_rows: int, threads: int, tile_floats: int) -> TileTasks:
    """Cut the output into blocks of tiles that fit the cache and occupy all threads.

    Args:
        geometry: the convolution's numbers.
        tile_rows: tiles that are multiplied together.
        threads: number of workers.
        tile_floats: floats of one frequency of one tile of the transformed input.
    """
    high, wide = math.ceil(geometry.out_height / OUTPUT), math.ceil(geometry.out_width / OUTPUT)
    room = max(tile_rows, min(MAX_TILES, FREQUENCY_BYTES // (FREQUENCIES * tile_floats * 4)))
    share = math.ceil(geometry.batch * high * wide / threads)
    limit = max(1, min(room, max(share, tile_rows)))
    columns = min(wide, limit)
    column_tasks = math.ceil(wide / columns)
    columns = math.ceil(wide / column_tasks)
    rows = max(1, min(high, limit // columns))
    row_tasks = math.ceil(high / rows)
    rows = math.ceil(high / row_tasks)
    return TileTasks(rows, columns, row_tasks, math.ceil(wide / columns))


def winograd_applies(geometry: ConvGeometry) -> bool:
    """Whether the convolution is of the kind that the transform is made for."""
    return (
        geometry.kernel == (3, 3) and geometry.strides == (1, 1) and geometry.dilations == (1, 1)
        and geometry.groups == 1 and min(geometry.channels, geometry.out_channels) >= MIN_CHANNELS
    )  # fmt: skip


def winograd_cycles(geometry: ConvGeometry, kernel: KernelRow, threads: int, lanes: int) -> float:
    """Estimated cycles of the whole convolution, all threads together."""
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    tasks = cut_tile_tasks(geometry, tile_rows, threads, _whole_vectors(geometry.channels, lanes))
    task_tiles = math.ceil(tasks.rows * tasks.columns / tile_rows) * tile_rows
    blocks = math.ceil(geometry.out_channels / columns)
    products = task_tiles * FREQUENCIES * geometry.channels * blocks * columns / lanes
    vectors = math.ceil(geometry.channels / lanes) + math.ceil(geometry.out_channels / lanes)
    transforms = tasks.rows * tasks.columns * vectors * TRANSFORM_CYCLES
    filters = FREQUENCIES * geometry.channels * blocks * columns * 4 / FILTER_BYTES_PER_CYCLE
    return geometry.batch * tasks.row_tasks * tasks.column_tasks * (max(products, filters) + transforms)


def emit_winograd(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    tensors: tuple[str, str, str, str, str],
    y_strides: tuple[int, int, int, int],
    kernel: KernelRow,
) -> None:
    """Append a Winograd convolution; arguments as for ``emit_direct_conv``."""
    x, weight, bias, residual, y = tensors
    lanes = context.kernels.lanes
    tile_rows, columns = kernel.traits["rows"], kernel.traits["columns"]
    channels = _whole_vectors(geometry.channels, lanes)
    tasks = cut_tile_tasks(geometry, tile_rows, context.threads, channels)
    filters = context.packed(weight, f"winograd{columns}", lambda a: pack_filters(a, columns))
    values = {
        **conv_values(node, geometry, y_strides), **tasks.values(geometry.batch),
        "x": x, "w": filters, "bias": pack_bias(node, context, bias, geometry, columns), "residual": residual, "y": y,
    }  # fmt: skip
    tiles = math.ceil(tasks.rows * tasks.columns / tile_rows) * tile_rows
    patch = (tasks.rows * OUTPUT + 2) * (tasks.columns * OUTPUT + 2) * geometry.channels
    floats = FREQUENCIES * (4 * lanes + tiles * (columns + channels)) + patch + lanes
    context.step(
        kernel, node, values, (y,), scratch_bytes=4 * floats, macs=geometry.macs,
        in_place=((residual, y),) if residual else (),
    )  # fmt: skip
