"""Orders of packed quads of weights that kernels want; see ``edgeinfer.simd.byte_dot``."""

from __future__ import annotations

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow

QUAD = 4


def in_halves(packed: np.ndarray, kernel: KernelRow) -> np.ndarray:
    """Packed quads [.., quad, columns] as a kernel with the trait ``halves`` reads them.

    The first two bytes of the quads of four neighbouring columns lie before their last two. With the trait ``grouped``
    vectors of four quads one behind another are packed as ``edgeinfer.simd.byte_tile`` turns x.
    """
    if not kernel.traits.get("halves"):
        return packed
    packed = np.ascontiguousarray(packed)
    pairs = packed.view(np.int16).reshape(-1, QUAD, 2)
    halves = np.ascontiguousarray(pairs.transpose(0, 2, 1)).view(np.int32).reshape(packed.shape)
    count, columns = packed.shape[-2:]
    whole = count // QUAD * QUAD
    if not kernel.traits.get("grouped") or not whole:
        return halves
    # pairs of bytes by panel, group, pair, vector of columns, column
    grouped = packed[..., :whole, :].reshape(-1, whole // QUAD, QUAD, columns).view(np.int16)
    grouped = grouped.reshape(*grouped.shape[:3], columns // QUAD, QUAD, 2).transpose(0, 1, 2, 5, 3, 4)
    grouped = grouped.reshape(*grouped.shape[:2], 2 * QUAD, columns // QUAD, QUAD)
    turned = np.empty((*grouped.shape[:2], QUAD, columns // QUAD, 2, QUAD), np.int16)
    for turn in range(QUAD):
        for half in range(2):
            for column in range(QUAD):
                pair = (column + turn + QUAD * half) % (2 * QUAD)
                turned[:, :, turn, :, half, column] = grouped[:, :, pair, :, column]
    result = halves.reshape(-1, count, columns)
    result[:, :whole] = turned.reshape(result.shape[0], -1).view(np.int32).reshape(result.shape[0], whole, columns)
    return result.reshape(packed.shape)


def multiplies_matrices(kernel: KernelRow) -> bool:
    """Whether weights of two quads lie column by column."""
    traits = kernel.traits
    return bool(traits.get("matrices") and traits.get("by_matrix") and traits["rows"] % 2 == 0)


def in_octets(packed: np.ndarray, kernel: KernelRow, run: int) -> np.ndarray:
    """Packed quads [.., quad, columns] as a kernel that multiplies matrices reads them.

    Two quads of each ``run`` lie column by column: [two quads, column, quad]; a last single one stays.
    """
    if not multiplies_matrices(kernel):
        return packed
    columns, pairs = packed.shape[-1], run // 2
    runs = packed.reshape(-1, run, columns)
    result = np.array(runs)
    octets = runs[:, : 2 * pairs].reshape(len(runs), pairs, 2, columns).transpose(0, 1, 3, 2)
    result[:, : 2 * pairs] = octets.reshape(len(runs), 2 * pairs, columns)
    return result.reshape(packed.shape)
