"""Reading and writing pictures with Pillow, which comes with the extra ``video``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.errors import MediaError
from edgeinfer.files import replacing

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


def pillow(module: str = "Image") -> Any:
    """A module of Pillow.

    Raises:
        MediaError: if Pillow is not installed.
    """
    try:
        return importlib.import_module(f"PIL.{module}")
    except ModuleNotFoundError as error:
        raise MediaError("reading and writing pictures needs Pillow: pip install 'edgeinfer[video]'") from error


def read_picture(path: Path) -> np.ndarray:
    """A picture, upright as its EXIF orientation says, as uint8 [height, width, 3].

    Raises:
        MediaError: if the file is missing, damaged or no picture.
    """
    image = pillow()
    try:
        with image.open(path) as opened:
            return np.asarray(pillow("ImageOps").exif_transpose(opened).convert("RGB"))
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise MediaError(f"{path} cannot be read as a picture: {error}") from error


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 [height, width, 3] in the format that the suffix names.

    Raises:
        MediaError: if the format is not known or the file cannot be written.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise MediaError(f"cannot write {path}: a picture's name ends in {', '.join(PICTURE_SUFFIXES)}")
    try:
        with replacing(path) as part:
            pillow().fromarray(pixels).save(part, quality=92)
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot write {path}: {error}") from error
