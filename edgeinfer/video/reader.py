"""Decoding: any file that FFmpeg reads, as upright RGB frames of one size with their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgeinfer.errors import MediaError
from edgeinfer.video.library import media_errors, pyav
from edgeinfer.video.size import SizeRequest

# From this height on, a video that does not name its colour matrix is taken to be ITU-R BT.709, as players do.
HD_HEIGHT = 720


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes:
        pixels: uint8 [height, width, 3], RGB.
        ticks: presentation time in units of the reader's ``time_base``, from the start of the video.
        duration: how long it is shown, in the same units; 0 if unknown.
    """

    pixels: np.ndarray
    ticks: int
    duration: int


class VideoReader:
    """Frames of the first video stream of a file, in order of presentation.

    Rotation metadata and pixels that are not square are honoured; damaged packets are skipped and counted.

    Args:
        path: a video file.
        size: wanted size; by default the size that a player would show.
        start: seconds from the start of the video at which to begin.
        limit: number of frames after which to end, None for all.

    Attributes:
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        rate: average frames per second.
        time_base: seconds per tick.
        origin: start of the file in seconds, which is taken from all times.
        frame_count: expected number of frames, None if unknown.
        damaged: number of packets skipped so far.

    Raises:
        MediaError: if the file is missing, no video, damaged from the start, or of an unknown codec.
    """

    def __init__(self, path: Path, size: SizeRequest | None = None, start: float = 0, limit: int | None = None) -> None:
        self.path = path
        self.damaged = 0
        self._limit = limit
        with media_errors("decode", path):
            self._container = pyav().open(str(path))
        try:
            self._stream = self._find_stream()
            self.rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
            self.time_base: Fraction = self._stream.time_base or 1 / self.rate
            # A file may begin before zero, for the sound's encoder delay; then nothing is shifted.
            self.origin = Fraction(max(self._container.start_time or 0, 0), 1_000_000)
            self._frames = self._decode(start)
            self._first = next(self._frames, None)
            if self._first is None:
                problem = f"it ends before {start:g} s" if start > 0 else "it holds no frame that can be decoded"
                raise MediaError(f"cannot decode {path}: {problem}")
            self.width, self.height = self._output_size(self._first, size or SizeRequest())
            self.frame_count = self._count_frames(start)
        except BaseException:
            self._container.close()
            raise

    def _find_stream(self) -> Any:
        stream = next(iter(self._container.streams.video), None)
        if stream is None:
            kinds = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
            raise MediaError(f"{self.path} has no video stream, only {kinds}")
        if stream.codec_context is None:
            raise MediaError(f"cannot decode {self.path}: this build of FFmpeg has no decoder for its video codec")
        stream.thread_type = "AUTO"
        return stream

    def _count_frames(self, start: float) -> int | None:
        count = self._stream.frames
        if not count and self._container.duration:
            count = int(self._container.duration * self.rate / 1_000_000)
        count -= int(start * self.rate)
        known = count if count > 0 else None
        return known if self._limit is None else min(known or self._limit, self._limit)

    def _output_size(self, frame: Any, size: SizeRequest) -> tuple[int, int]:
        """Size of the frames: square pixels, upright, then as requested."""
        ratio = self._stream.sample_aspect_ratio or Fraction(1)
        width, height = round(frame.width * ratio) if ratio > 0 else frame.width, frame.height
        if _quarter_turns(frame) % 2:
            width, height = height, width
        return size.resolve(width, height)

    def _decode(self, start: float) -> Iterator[Any]:
        """Decoded frames of PyAV; the first of them has been asked for before the size is known."""
        errors = pyav().error
        with media_errors("decode", self.path):
            if start > 0:
                self._container.seek(int((start + self.origin) * 1_000_000))
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except errors.InvalidDataError:
                    self.damaged += 1
                    continue
                for frame in frames:
                    if start <= 0 or frame.time is None or frame.time - float(self.origin) >= start - 1e-6:
                        yield frame

    def __iter__(self) -> Iterator[Frame]:
        step = max(1, round(1 / (self.rate * self.time_base)))
        origin = round(self.origin / self.time_base)
        previous = -step
        count = 0
        frame: Any = self._first
        while frame is not None and (self._limit is None or count < self._limit):
            ticks = previous + step if frame.pts is None else frame.pts - origin
            # Two frames of one time cannot both be shown, and encoders refuse a time that goes back.
            if ticks > previous or count == 0:
                yield Frame(self._pixels(frame), ticks, frame.duration or 0)
                previous = ticks
                count += 1
            frame = next(self._frames, None)

    def _pixels(self, frame: Any) -> np.ndarray:
        interpolation = pyav().video.reformatter.Interpolation
        turns = _quarter_turns(frame)
        width, height = (self.height, self.width) if turns % 2 else (self.width, self.height)
        shrinks = width < frame.width
        converted = frame.reformat(
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=_colour_matrix(frame),
            interpolation=interpolation.AREA if shrinks else interpolation.BICUBIC,
        )
        return np.ascontiguousarray(np.rot90(converted.to_ndarray(), turns))

    def close(self) -> None:
        """Close the file."""
        self._frames.close()  # type: ignore[attr-defined]
        self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _quarter_turns(frame: Any) -> int:
    """Counterclockwise quarter turns that put a frame upright."""
    return round(frame.rotation / 90) % 4


def _colour_matrix(frame: Any) -> Any:
    colorspace = pyav().video.reformatter.Colorspace
    known = {member.value for member in colorspace}
    if frame.colorspace in known:
        return None
    return colorspace.ITU709 if frame.height >= HD_HEIGHT else colorspace.ITU601
