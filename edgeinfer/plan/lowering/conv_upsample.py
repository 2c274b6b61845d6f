"""Convolution of a nearest-upsampled picture as small convolutions of the picture itself, one for each output phase.

With factor u, padding p and taps t, output row ``u * q + r`` reads input rows ``q + floor((r - p + t) / u)``. Taps
that read the same row add up, so a 3x3 kernel behind 2x upsampling becomes four 2x2 kernels: 16 products for
36. Zero and edge padding commute with upsampling; reflection of fewer than u rows reads what edge padding reads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from edgeinfer.plan.lowering.conv_geometry import PAD_MODES, ConvGeometry
from edgeinfer.records import NamedTuple


class UpsamplePhase(NamedTuple):
    """One residue of the output positions along one axis.

    Attributes:
        offset: the residue r.
        first: input position that the first output position reads first.
        taps: for each tap of the full kernel the tap of the small one that it is added to.
        size: number of output positions.
    """

    offset: int
    first: int
    taps: tuple[int, ...]
    size: int

    @property
    def kernel(self) -> int:
        """Taps of the small kernel."""
        return self.taps[-1] + 1


def upsample_phases(kernel: int, factor: int, pad: int, out_size: int) -> list[UpsamplePhase]:
    """The phases of one axis."""
    phases = []
    for offset in range(min(factor, out_size)):
        reads = [(offset - pad + tap) // factor for tap in range(kernel)]
        size = (out_size - offset + factor - 1) // factor
        phases.append(UpsamplePhase(offset, reads[0], tuple(read - reads[0] for read in reads), size))
    return phases


def merged_taps(weight: np.ndarray, rows: UpsamplePhase, columns: UpsamplePhase) -> np.ndarray:
    """Weights [out, channels, kh, kw] with the taps that read the same input added up."""
    merged = np.zeros((*weight.shape[:2], rows.kernel, columns.kernel))
    for ky, to_row in enumerate(rows.taps):
        for kx, to_column in enumerate(columns.taps):
            merged[:, :, to_row, to_column] += weight[:, :, ky, kx]
    return merged.astype(np.float32)


def upsample_applies(geometry: ConvGeometry) -> bool:
    """Whether the convolution can be split into phases of the upsampling before it."""
    if geometry.upsample == (1, 1) or geometry.strides != (1, 1) or geometry.dilations != (1, 1):
        return False
    reflects = geometry.pad_mode == PAD_MODES["reflect"]
    return not reflects or all(pad < factor for pad, factor in zip(geometry.end_pads, geometry.upsample, strict=True))


class PhaseConv(NamedTuple):
    """One phase: its convolution, its weights as a function of the full ones, and where its outputs go."""

    geometry: ConvGeometry
    name: str
    merge: Callable[[np.ndarray], np.ndarray]
    y_strides: tuple[int, int, int, int]


def phase_convs(geometry: ConvGeometry, y_strides: tuple[int, int, int, int]) -> list[PhaseConv]:
    """The convolutions that together are the upsampled one; ``y_strides`` as for ``FusedConv``."""
    (kernel_height, kernel_width), (factor_y, factor_x) = geometry.kernel, geometry.upsample
    y_pixel, y_row, y_image, y_start = y_strides
    pad_mode = PAD_MODES["edge"] if geometry.pad_mode == PAD_MODES["reflect"] else geometry.pad_mode
    convs = []
    for rows in upsample_phases(kernel_height, factor_y, geometry.pads[0], geometry.out_height):
        for columns in upsample_phases(kernel_width, factor_x, geometry.pads[1], geometry.out_width):
            small = geometry._replace(
                out_height=rows.size, out_width=columns.size, kernel=(rows.kernel, columns.kernel),
                pads=(-rows.first, -columns.first), upsample=(1, 1), pad_mode=pad_mode,
                nominal_taps=kernel_height * kernel_width,
            )  # fmt: skip
            name = f"upsampled{factor_y}x{factor_x}pad{geometry.pads}phase{rows.offset}.{columns.offset}"
            start = y_start + rows.offset * y_row + columns.offset * y_pixel
            strides = (factor_x * y_pixel, factor_y * y_row, y_image, start)
            convs.append(PhaseConv(small, name, partial(merged_taps, rows=rows, columns=columns), strides))
    return convs
