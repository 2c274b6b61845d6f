"""How convolutions are cut into tasks: every weight is read as few times as the picture allows."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import pytest

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry
from edgeinfer.plan.lowering.conv_tasks import cut_tasks
from edgeinfer.plan.lowering.tile_tasks import cut_tile_tasks, first_row_of
from edgeinfer.plan.lowering.winograd import tile_units, winograd_tasks

LANES = 16


def geometry(size: int, channels: int, outputs: int, stride: int = 1) -> ConvGeometry:
    """A 3x3 convolution with padding."""
    out = math.ceil(size / stride)
    return ConvGeometry(
        1, size, size, channels, out, out, outputs, 1, (3, 3), (stride, stride), (1, 1), (1, 1), (1, 1), 0
    )  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_many_weights_of_few_pixels_are_shared_out_and_read_once(threads: int):
    conv = geometry(14, 256, 512, stride=2)
    tasks = cut_tasks(conv, 7, 32, threads)
    assert (tasks.rows, tasks.row_tasks, tasks.column_tasks) == (7, 1, 1)
    assert threads == 1 or tasks.block_tasks >= 2 * threads
    assert tasks.blocks * tasks.block_tasks >= math.ceil(conv.out_channels / 32)


def test_pixels_are_shared_out_where_they_are_many():
    tasks = cut_tasks(geometry(56, 64, 64), 7, 32, threads=2)
    assert tasks.row_tasks >= 4
    assert tasks.block_tasks == 1


@functools.cache
def winograd_kernel(target: str, family: str = "f32_winograd2x2", rows: int = 7) -> KernelRow:
    """A kernel of any processor, known of without being run."""
    pytest.importorskip("numba", reason="listing the kernels of another CPU takes Numba")
    from edgeinfer.codegen.pack import list_kernels
    from edgeinfer.codegen.targets import find_target

    kernels = [KernelRow.from_json(row) for row in list_kernels(find_target(target))]
    return next(kernel for kernel in kernels if kernel.family == family and kernel.traits["rows"] == rows)


@pytest.mark.parametrize(("target", "tasks"), [("x86-64-v4+amx", 1), ("x86-64-v4", 2)])
def test_where_the_cache_holds_it_a_picture_is_one_task(target: str, tasks: int):
    conv, kernel = geometry(14, 256, 256), winograd_kernel(target)
    cut = cut_tile_tasks(conv, kernel, 2, tile_units(conv, kernel, LANES), LANES)
    assert cut.pixel_tasks == tasks
    assert cut.rows * cut.row_tasks >= conv.out_height // 2


def test_pictures_of_many_tasks_keep_small_ones():
    conv = geometry(64, 128, 128)
    cuts = []
    for target in ("x86-64-v4+amx", "x86-64-v4"):
        kernel = winograd_kernel(target, "f32_winograd4x4")
        cuts.append(cut_tile_tasks(conv, kernel, 2, tile_units(conv, kernel, LANES), LANES))
    assert cuts[0] == cuts[1]
    assert cuts[0].pixel_tasks > 4


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize(("size", "channels"), [(28, 128), (56, 64), (20, 256), (36, 96), (52, 64)])
def test_every_worker_multiplies_as_many_rows(size: int, channels: int, threads: int):
    kernel = winograd_kernel("x86-64-v4+amx", "f32_winograd4x4")
    tasks, high = winograd_tasks(geometry(size, channels, channels), kernel, threads, LANES), math.ceil(size / 4)
    blocks = math.ceil(channels / kernel.traits["columns"])
    computed = [[0] * high for _ in range(blocks)]
    work = []
    for worker in range(threads):
        tiles = tasks.row_tasks * tasks.block_tasks
        work.append(0)
        for task in range(tiles * worker // threads, tiles * (worker + 1) // threads):
            row_task, first_block = task // tasks.block_tasks, task % tasks.block_tasks * tasks.blocks
            for block in range(first_block, min(blocks, first_block + tasks.blocks)):
                first, end = (
                    first_row_of(row_task + i, tasks.row_tasks, tasks.row_shares, high, block, blocks) for i in (0, 1)
                )
                assert end - first <= tasks.rows
                for row in range(first, end):
                    computed[block][row] += 1
                    work[-1] += 1
    assert computed == [[1] * high for _ in range(blocks)]
    assert tasks.row_tasks % threads == 0
    assert max(work) - min(work) <= 1


@pytest.mark.parametrize("shares", [1, 2, 3])
def test_kernels_and_planner_agree_on_rows(shares: int):
    pytest.importorskip("numba")
    from edgeinfer.kernels import winograd

    for row_tasks in (shares, 2 * shares):
        params = SimpleNamespace(row_tasks=row_tasks, row_shares=shares)
        for high in (7, 9, 14):
            for task in range(row_tasks + 1):
                for block in range(4):
                    ours = first_row_of(task, row_tasks, shares, high, block, 4)
                    assert winograd.first_row_of.py_func(params, task, high, block, 4) == ours
