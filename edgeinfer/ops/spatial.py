"""Windows over spatial dimensions: padding resolved, sizes of outputs, views of all windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import Dim
from edgeinfer.graph.dims import add, ceil_divide, floor_divide
from edgeinfer.records import NamedTuple


class Window(NamedTuple):
    """A sliding window: one entry for each spatial dimension; ``pads`` are (before, after)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]


def make_window(
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
    sizes: Sequence[Dim],
) -> Window:
    """Fill in ONNX's defaults and resolve ``auto_pad`` (which needs integer sizes unless it is NOTSET or VALID)."""
    rank = len(kernel)
    strides, dilations = tuple(strides or [1] * rank), tuple(dilations or [1] * rank)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for k, s, d, size in zip(kernel, strides, dilations, sizes, strict=True):
            reach = (k - 1) * d + 1
            if isinstance(size, int):
                total = max((-(-size // s) - 1) * s + reach - size, 0)
            elif s == 1:
                total = reach - 1
            else:
                raise ValueError(f"auto_pad {auto_pad} with stride {s} needs a known size, not '{size}'")
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if auto_pad == "SAME_UPPER" else (large, small))
    elif auto_pad == "VALID" or not pads:
        pairs = [(0, 0)] * rank
    else:
        pairs = [(pads[axis], pads[axis + rank]) for axis in range(rank)]
    return Window(tuple(kernel), strides, dilations, tuple(pairs))


def output_dim(size: Dim, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil_mode: bool) -> Dim:
    """``floor((size + pads - reach) / stride) + 1``, or with ceil where the last window starts inside."""
    room = add(size, sum(pads) - ((kernel - 1) * dilation + 1))
    if isinstance(room, int) and room < 0:
        raise ValueError(f"a window of {kernel} (dilation {dilation}) does not fit into {size} with padding {pads}")
    if not ceil_mode:
        return add(floor_divide(room, stride), 1)
    count = add(ceil_divide(room, stride), 1)
    if isinstance(count, int) and isinstance(size, int) and (count - 1) * stride >= size + pads[0]:
        return count - 1
    return count


def output_dims(sizes: Sequence[Dim], window: Window, ceil_mode: bool = False) -> list[Dim]:
    """The spatial output dimensions of a window."""
    return [
        output_dim(size, k, s, d, pads, ceil_mode)
        for size, k, s, d, pads in zip(sizes, window.kernel, window.strides, window.dilations, window.pads, strict=True)
    ]


def windows(x: np.ndarray, window: Window, outputs: Sequence[int]) -> np.ndarray:
    """A view [..., out…, kernel…] of all windows over the last dimensions of a padded array."""
    rank = len(window.kernel)
    strides = x.strides[-rank:]
    shape = (*x.shape[:-rank], *outputs, *window.kernel)
    steps = [stride * s for stride, s in zip(strides, window.strides, strict=True)]
    taps = [stride * d for stride, d in zip(strides, window.dilations, strict=True)]
    return np.lib.stride_tricks.as_strided(x, shape, (*x.strides[:-rank], *steps, *taps), writeable=False)
