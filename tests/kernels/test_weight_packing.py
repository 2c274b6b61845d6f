"""Weights packed by kernels equal those that the references in NumPy pack, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import DType, TensorType
from edgeinfer.minimal_filtering import filter_matrix
from edgeinfer.plan.kernel_set import KernelSet
from edgeinfer.plan.lowering.context import LoweringContext
from edgeinfer.plan.lowering.packed_weights import Filtering, filtering_of, pack_filters, packed_columns, packed_filters
from edgeinfer.plan.lowering.winograd import FAMILIES
from edgeinfer.plan.packing import Packing, pack_by_references
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.weight_packer import pack_by_kernels
from edgeinfer.runtime.workers import WorkerTeam
from edgeinfer.simd.levels import LEVELS as CPU_LEVELS

LEVELS = [level for level in available_levels() if not CPU_LEVELS[level].has_floats_of_base]
# Outputs, channels, kernel height, kernel width, groups.
SHAPES = [
    (1, 1, 1, 1, 1), (3, 5, 3, 3, 1), (8, 8, 3, 3, 1), (17, 16, 3, 3, 1), (37, 17, 1, 1, 1), (16, 3, 9, 9, 1),
    (48, 33, 2, 3, 1), (19, 5, 7, 7, 1), (6, 2, 3, 3, 3), (34, 4, 3, 3, 2), (65, 64, 3, 3, 1),
    (131, 70, 1, 1, 1),
]  # fmt: skip
# Output pixels, taps and stride of Winograd kernels.
FORMS = [(2, 3, 1), (4, 3, 1), (6, 3, 1), (4, 2, 2), (7, 2, 2), (5, 4, 2)]


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
    kernel_size = weight.shape[2]
    if weight.shape[2:] == (kernel_size, kernel_size) and groups == 1:
        for family in (*FAMILIES, "winograd_parts"):
            for kernel in kernels.family(f"f32_{family}"):
                if filtering_of(kernel).kernel_size == kernel_size:
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


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_filters_are_transformed_as_the_paper_says(form):
    filtering = Filtering(*form)
    size, taps, stride, kernel_size = filtering.size, filtering.taps, filtering.stride, filtering.kernel_size
    rows = np.array(filter_matrix(size, taps), np.float64)
    if size == 4:
        rows[0] = -rows[0]
    weight = weights(5, 7, kernel_size, kernel_size)
    padded = np.zeros((5, 7, stride * taps, stride * taps))
    padded[..., :kernel_size, :kernel_size] = weight
    packed = pack_filters(weight, filtering, 8)[0]
    assert packed.shape == (filtering.products * 7, 8)
    assert not packed[:, 5:].any()
    place = 0
    for i in range(size):
        for j in range(size):
            for row in range(1 if i == size - 1 else stride):
                for column in range(1 if j == size - 1 else stride):
                    phase = padded[..., row::stride, column::stride]
                    wanted = np.einsum("k,ockl,l->co", rows[i], phase, rows[j])
                    np.testing.assert_allclose(packed[place : place + 7, :5], wanted, rtol=1e-5, atol=1e-6)
                    place += 7


def test_filters_along_rows_keep_their_taps_down():
    filtering = Filtering(2, 3, 1, axes=1)
    weight, rows = weights(5, 7, 3, 3), np.array(filter_matrix(4, 3), np.float64)
    rows[0] = -rows[0]
    packed = pack_filters(weight, filtering, 8)
    assert packed.shape == (1, 4 * 3 * 7, 8)
    by_frequency = packed.reshape(4, 3, 7, 8)
    np.testing.assert_allclose(
        by_frequency[..., :5], np.einsum("fl,ockl->fkco", rows, weight), rtol=1e-5, atol=1e-6
    )  # fmt: skip
    assert not by_frequency[..., 5:].any()
