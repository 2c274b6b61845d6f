"""Encoding: H.264 video that browsers play, with the sound of another file."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgeinfer.errors import MediaError
from edgeinfer.video.library import media_errors, pyav
from edgeinfer.video.sound import SoundTrack

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")

# Constant quality; "superfast" leaves the processor to the network.
ENCODER_OPTIONS = {"crf": "23", "preset": "superfast"}

# ITU-R BT.709 in limited range, as numbered by ITU-T H.273.
BT709 = 1
LIMITED_RANGE = 1


class VideoWriter:
    """A video file in the making, complete after ``finish``; as a context manager it is closed in any case.

    Args:
        path: the file to write, whose suffix names the container.
        target: the name that the file will have in the end, for messages.
        size: width and height in pixels, both even.
        rate: average frames per second.
        time_base: seconds per tick of the times given to ``write``.
        sound: a file whose sound is taken over, None for none.
        origin: seconds taken from the times of the sound.

    Raises:
        MediaError: if the file cannot be written, or FFmpeg lacks the encoder.
    """

    def __init__(
        self,
        path: Path,
        target: Path,
        size: tuple[int, int],
        rate: Fraction,
        time_base: Fraction,
        sound: Path | None = None,
        origin: Fraction = Fraction(0),
    ) -> None:
        self._target = target
        self._time_base = time_base
        options = {} if path.suffix == ".mkv" else {"movflags": "+faststart"}
        with media_errors("write", target):
            self._container = pyav().open(str(path), "w", options=options)
        try:
            self._stream = self._add_video(size, rate)
            self._sound = SoundTrack(sound, self._container, origin) if sound is not None else None
        except BaseException:
            self._abandon()
            raise

    @property
    def sound(self) -> str:
        """What happens to the sound."""
        return self._sound.description if self._sound is not None else "none"

    def _add_video(self, size: tuple[int, int], rate: Fraction) -> Any:
        av = pyav()
        try:
            stream = self._container.add_stream("libx264", rate=rate, options=ENCODER_OPTIONS)
        except (av.codec.codec.UnknownCodecError, ValueError) as error:
            raise MediaError(
                f"cannot write {self._target}: this build of FFmpeg has no H.264 encoder (libx264); "
                "PyAV's wheels have it: pip install --force-reinstall av"
            ) from error
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        return stream

    def write(self, pixels: np.ndarray, ticks: int, duration: int = 0) -> None:
        """Append a frame.

        Args:
            pixels: uint8 [height, width, 3], RGB.
            ticks: time in units of ``time_base``, after that of the frame before.
            duration: how long it is shown, in the same units; 0 if unknown.

        Raises:
            MediaError: if it cannot be written, for example because the disk is full.
        """
        av = pyav()
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=av.video.reformatter.Colorspace.ITU709
        )
        frame.pts, frame.time_base, frame.duration = ticks, self._time_base, duration
        with media_errors("write", self._target):
            self._container.mux(self._stream.encode(frame))
            if self._sound is not None:
                self._sound.write_until(ticks * self._time_base)

    def finish(self, end: Fraction | None = None) -> None:
        """Complete the file.

        Args:
            end: seconds at which the sound ends; None for all of it.
        """
        with media_errors("write", self._target):
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.write_until(end)
                self._sound.close()
            self._container.close()

    def _abandon(self) -> None:
        """Close an incomplete file; the first failure is told elsewhere."""
        with contextlib.suppress(Exception):
            self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sound is not None:
            self._sound.close()
        self._abandon()
