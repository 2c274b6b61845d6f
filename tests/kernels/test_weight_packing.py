"""Weights packed by kernels equal those that the references in NumPy pack, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import DType, TensorType
from edgeinfer.plan.kernel_set import KernelSet
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.packed_weights import pack_filters, packed_columns, packed_filters
from edgeinfer.plan.packing import Packing, pack_by_references
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.weight_packer import pack_by_kernels
from edgeinfer.runtime.workers import WorkerTeam
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

LEVELS = [level for level in available_levels() if not CPU_LEVELS[level].base]
# Outputs, channels, kernel height, kernel width, groups.
SHAPES = [
    (1, 1, 1, 1, 1), (3, 5, 3, 3, 1), (8, 8, 3, 3, 1), (17, 16, 3, 3, 1), (37, 17, 1, 1, 1), (16, 3, 9, 9, 1),
    (48, 33, 2, 3, 1), (6, 2, 3, 3, 3), (34, 4, 3, 3, 2), (65, 64, 3, 3, 1),
]  # fmt: skip


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def views(weight: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers, laid out in memory in other ways."""
    return {
        "contiguous": weight,
        "channels_last": np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
        "transposed": np.ascontiguousarray(weight.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3),
        "flipped": np.ascontiguousarray(weight[..., ::-1, ::-1])[..., ::-1, ::-1],
    }


def packings_of(weight: np.ndarray, groups: int, kernels: KernelSet) -> list[Packing]:
    """The packings for all convolutions of this level that could take the weights."""
    types = {"w": TensorType(DType.FLOAT32, weight.shape)}
    context = LoweringContext(kernels, 1, types, {"w": weight})
    for kernel in kernels.family("f32_conv"):
        packed_columns(context, "w", kernel, groups)
    if weight.shape[2:] == (3, 3) and groups == 1:
        for family in ("f32_winograd4x4", "f32_winograd2x2", "f32_winograd_parts"):
            for kernel in kernels.family(family):
                packed_filters(context, "w", kernel)
    return list(context.packings.values())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("level", LEVELS)
def test_kernels_pack_as_the_references_do(level, shape, threads):
    *sizes, groups = shape
    kernels = kernels_for(level)
    team = WorkerTeam(threads, kernels.entry("run_tape"), kernels.entry("worker_loop"))
    jobs = [
        (name, packing)
        for name, view in views(weights(*sizes)).items()
        for packing in packings_of(view, groups, kernels.kernel_set)
    ]
    assert jobs
    wanted = [np.empty(packing.shape, packing.dtype) for _, packing in jobs]
    pack_by_references([(packing, target) for (_, packing), target in zip(jobs, wanted, strict=True)])
    packed = [np.full(packing.shape, np.nan, packing.dtype) for _, packing in jobs]
    try:
        pack_by_kernels([(packing, target) for (_, packing), target in zip(jobs, packed, strict=True)], kernels, team)
    finally:
        team.close()
    for (name, packing), result, want in zip(jobs, packed, wanted, strict=True):
        np.testing.assert_array_equal(
            result.view(np.int32), want.view(np.int32), err_msg=f"{name}: {packing.kernel.name} {packing.values}"
        )


@pytest.mark.parametrize("output", [2, 4])
def test_filters_are_transformed_as_the_paper_says(output):
    rows = {
        2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        4: [
            [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
        ],
    }[output]  # fmt: skip
    weight = weights(5, 7, 3, 3)
    transformed = np.einsum("ik,ockl,jl->ijco", rows, weight.astype(np.float64), rows)
    packed = pack_filters(weight, output, 8)
    assert packed.shape == (1, (output + 2) ** 2, 7, 8)
    np.testing.assert_allclose(packed[0, :, :, :5], transformed.reshape(-1, 7, 5), rtol=1e-5, atol=1e-7)
    assert not packed[..., 5:].any()
