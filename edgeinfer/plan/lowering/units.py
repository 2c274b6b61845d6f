"""Units of channels: one float32 or float16; or in four bytes two bfloat16 or four 8-bit numbers of neighbours.

How many channels a unit holds is the kernel's trait ``width``, 1 where it has none.
"""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.conv_geometry import ConvGeometry


def width_of(kernel: KernelRow) -> int:
    """Channels in a unit of the kernel's patches and weights."""
    return int(kernel.traits.get("width", 1))


def units_of(geometry: ConvGeometry, kernel: KernelRow) -> ConvGeometry:
    """The geometry with channels counted in the kernel's units; its MACs are no longer the convolution's."""
    if width_of(kernel) == 1:
        return geometry
    return geometry._replace(channels=math.ceil(geometry.channels / width_of(kernel)))


def as_units(weight: np.ndarray, kernel: KernelRow, axis: int = 1) -> np.ndarray:
    """Weights with the channels along ``axis`` gathered into units: float32 as they are or rounded to bfloat16, int8.

    The result has the dtype int32 for a width above 1, else that of the kernel's floats.
    """
    width = width_of(kernel)
    if width == 1:
        return weight.astype(kernel.float_dtype, copy=False)
    last = np.moveaxis(weight, axis, -1)
    padded = np.ascontiguousarray(last)
    if last.shape[-1] % width:
        padded = np.zeros((*last.shape[:-1], math.ceil(last.shape[-1] / width) * width), last.dtype)
        padded[..., : last.shape[-1]] = last
    narrow = padded if padded.dtype == np.int8 else to_bfloat16(padded)
    return np.moveaxis(narrow.view(np.int32), -1, axis)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 rounded to bfloat16, half to even, as uint16 bits; infinities stay, NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)
