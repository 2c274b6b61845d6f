"""The sound track of a video, copied into another as it is where players take it, else encoded as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from edgeinfer.errors import MediaError
from edgeinfer.video.library import media_errors, pyav

# Codecs that browsers play from an .mp4 file.
COPIED_CODECS = ("aac", "flac", "mp3", "opus")
AAC_RATE = 48000
AAC_BIT_RATE = 160_000


class SoundTrack:
    """The best sound stream of a file on its way into an open output container.

    Args:
        path: file with the sound.
        output: a PyAV container that nothing was written to yet.
        origin: seconds taken from all times.

    Attributes:
        description: what happens to the sound: "none", "aac copied" or "vorbis to aac".

    Raises:
        MediaError: if the file cannot be read, or its sound has no decoder and cannot be copied.
    """

    def __init__(self, path: Path, output: Any, origin: Fraction) -> None:
        self._path = path
        self._output = output
        self._packets: Iterator[tuple[Fraction, Any]] = iter(())
        self.description = "none"
        with media_errors("read the sound of", path):
            self._container = pyav().open(str(path))
        try:
            self._add_stream(origin)
            self._waiting = self._next()
        except BaseException:
            self._container.close()
            raise

    def _next(self) -> tuple[Fraction, Any] | None:
        with media_errors("read the sound of", self._path):
            return next(self._packets, None)

    def _add_stream(self, origin: Fraction) -> None:
        stream = next(iter(self._container.streams.audio), None)
        if stream is None:
            return
        codec = stream.codec_context
        if codec is None:
            raise MediaError(f"the sound of {self._path} has no decoder in this build of FFmpeg: use --no-sound")
        if codec.codec.canonical_name in COPIED_CODECS:
            self.description = f"{codec.codec.canonical_name} copied"
            target = self._output.add_stream_from_template(stream)
            self._packets = self._copied(stream, target, origin)
        else:
            self.description = f"{codec.codec.canonical_name} to aac"
            rate = codec.rate if codec.rate and codec.rate <= AAC_RATE else AAC_RATE
            layout = "mono" if codec.layout.nb_channels == 1 else "stereo"
            target = self._output.add_stream("aac", rate=rate, layout=layout)
            target.bit_rate = AAC_BIT_RATE
            self._packets = self._encoded(stream, target, origin)

    def _copied(self, stream: Any, target: Any, origin: Fraction) -> Iterator[tuple[Fraction, Any]]:
        shift = round(origin / stream.time_base)
        for packet in self._container.demux(stream):
            if packet.dts is None:
                continue
            packet.pts, packet.dts = (None if ticks is None else ticks - shift for ticks in (packet.pts, packet.dts))
            packet.stream = target
            yield packet.dts * stream.time_base, packet

    def _encoded(self, stream: Any, target: Any, origin: Fraction) -> Iterator[tuple[Fraction, Any]]:
        resampler = pyav().AudioResampler(format="fltp", layout=target.layout, rate=target.rate)
        time_base = Fraction(1, target.rate)
        for frame in self._decoded(stream):
            if frame.pts is not None:
                frame.pts -= round(origin / frame.time_base)
            for resampled in resampler.resample(frame):
                for packet in target.encode(resampled):
                    yield (packet.dts or 0) * (packet.time_base or time_base), packet
        for packet in target.encode(None):
            yield (packet.dts or 0) * (packet.time_base or time_base), packet

    def _decoded(self, stream: Any) -> Iterator[Any]:
        for packet in self._container.demux(stream):
            try:
                yield from packet.decode()
            except pyav().error.InvalidDataError:
                continue

    def write_until(self, seconds: Fraction | None) -> None:
        """Write what is heard before a time; None writes all that is left."""
        while self._waiting is not None and (seconds is None or self._waiting[0] < seconds):
            self._output.mux(self._waiting[1])
            self._waiting = self._next()

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self._container.close()
