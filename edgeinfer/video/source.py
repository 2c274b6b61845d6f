"""What a file holds: one picture or a video; and single pictures out of either."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.errors import MediaError
from edgeinfer.pictures import pillow, read_picture
from edgeinfer.video.library import media_errors, pyav
from edgeinfer.video.reader import VideoReader
from edgeinfer.video.size import SizeRequest


def is_picture(path: Path) -> bool:
    """Whether a file holds one picture; animated pictures are videos.

    Raises:
        MediaError: if the file is missing or neither.
    """
    if not path.is_file():
        raise MediaError(f"there is no file {path}")
    image = pillow()
    try:
        with image.open(path) as opened:
            return getattr(opened, "n_frames", 1) == 1
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError):
        pass
    with media_errors("decode", path), pyav().open(str(path)) as container:
        name = container.format.name
        return name == "image2" or name.endswith("_pipe")


def load_picture(path: Path, size: SizeRequest) -> np.ndarray:
    """The only picture of a file in the wanted size, uint8 [height, width, 3]."""
    try:
        pixels = read_picture(path)
    except MediaError:
        # FFmpeg reads kinds of pictures that Pillow does not know, and tells better what is wrong with the others.
        return frame_at(path, size, 0)
    height, width = pixels.shape[:2]
    wanted = size.resolve(width, height)
    if wanted == (width, height):
        return pixels
    image = pillow()
    return np.asarray(image.fromarray(pixels).resize(wanted, image.Resampling.LANCZOS))


def frame_at(path: Path, size: SizeRequest, seconds: float | None) -> np.ndarray:
    """The frame of a video at a time (by default half of its length), uint8 [height, width, 3].

    Raises:
        MediaError: if the video cannot be decoded or ends before.
    """
    if seconds is None:
        with VideoReader(path, size) as reader:
            seconds = float((reader.frame_count or 0) / reader.rate) / 2
    with VideoReader(path, size, start=seconds, limit=1) as reader:
        return next(iter(reader)).pixels
