"""Between pixels (uint8 [height, width, 3]) and a network's tensors (float32 [1, 3, height, width], 0..1)."""

from __future__ import annotations

import numpy as np

# Networks that halve the picture twice need sides that are multiples of this.
MULTIPLE = 4


def to_tensor(pixels: np.ndarray) -> np.ndarray:
    """Pixels as a tensor; the last row and column are repeated until both sides are multiples of ``MULTIPLE``."""
    height, width = pixels.shape[:2]
    padded_height, padded_width = (-(-side // MULTIPLE) * MULTIPLE for side in (height, width))
    tensor = np.empty((1, 3, padded_height, padded_width), np.float32)
    planes = tensor[0]
    np.multiply(pixels.transpose(2, 0, 1), np.float32(1 / 255), out=planes[:, :height, :width])
    planes[:, height:, :width] = planes[:, height - 1 : height, :width]
    planes[:, :, width:] = planes[:, :, width - 1 : width]
    return tensor


def to_pixels(tensor: np.ndarray, width: int, height: int) -> np.ndarray:
    """The first ``height`` rows and ``width`` columns of a tensor, limited to 0..1 and rounded."""
    planes = tensor[0, :, :height, :width] * np.float32(255)
    np.clip(np.rint(planes, out=planes), 0, 255, out=planes)
    pixels = np.empty((height, width, 3), np.uint8)
    np.copyto(pixels, planes.transpose(1, 2, 0), casting="unsafe")
    return pixels
