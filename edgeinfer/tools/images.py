"""Pictures and arrays: files in, files out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.errors import InputError, MediaError
from edgeinfer.files import replacing
from edgeinfer.pictures import PICTURE_SUFFIXES, read_picture
from edgeinfer.runtime.port import Port


def read_input(port: Port, path: Path) -> np.ndarray:
    """An array for an input, from an ``.npy`` file or a picture.

    Pictures become float32 0..1 (uint8 where the input is uint8), [1, 3, h, w] or [1, h, w, 3] as the input is.

    Raises:
        InputError: if the file's kind is not known or the input is no picture.
        MediaError: if the picture cannot be read.
    """
    if path.suffix.lower() == ".npy":
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"input '{port.name}': {path} cannot be read as .npy: {error}") from error
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"input '{port.name}': {path} is neither .npy nor a picture ({', '.join(PICTURE_SUFFIXES)})")
    pixels = read_picture(path)
    shape = port.shape
    if shape is None or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        raise InputError(f"input '{port.name}' has shape {shape}, which is no colour picture: give an .npy file")
    array = pixels if port.dtype.value == "uint8" else pixels.astype(port.dtype.numpy) / 255
    array = array.transpose(2, 0, 1) if shape[1] == 3 else array
    return np.ascontiguousarray(array[None], port.dtype.numpy)


def as_picture(array: np.ndarray) -> np.ndarray | None:
    """An output as uint8 [h, w, 3], None if it does not look like a picture.

    Floats up to about 1 are taken as 0..1, larger ones as 0..255.
    """
    if array.ndim != 4 or array.shape[0] != 1 or array.dtype.kind not in "fu" or min(array.shape) < 1:
        return None
    if array.shape[1] in (1, 3):
        pixels = array[0].transpose(1, 2, 0)
    elif array.shape[3] in (1, 3):
        pixels = array[0]
    else:
        return None
    if min(pixels.shape[:2]) < 8:
        return None
    if pixels.dtype.kind == "f":
        scale = 255.0 if np.nanmax(np.abs(pixels)) <= 2 else 1.0
        pixels = np.clip(np.round(np.nan_to_num(pixels) * scale), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels, 3 // pixels.shape[2], axis=2))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` file beside its place and rename it."""
    try:
        with replacing(path) as part, open(part, "wb") as file:
            np.save(file, array)
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error.strerror}") from error
