"""Small clips and pictures, and a look at what was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from edgeinfer.cli import main


@dataclass(frozen=True)
class Contents:
    """What a video file holds."""

    size: tuple[int, int]
    times: list[float]
    sound: str | None
    sound_seconds: float
    first: np.ndarray


def write_clip(
    path: Path, width: int = 64, height: int = 48, frames: int = 6, rate: int = 12, sound: str | None = "aac",
    ticks: list[int] | None = None,
) -> Path:  # fmt: skip
    """A clip whose pictures change; ``ticks`` gives frame times in 1/``rate`` s for variable rates."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for index in range(frames):
            picture = np.zeros((height, width, 3), np.uint8)
            picture[:, : width * (index + 1) // frames] = (200, 120, 40)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = ticks[index] if ticks else index
            frame.time_base = Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            seconds = ((ticks[-1] if ticks else frames - 1) + 1) / rate
            tone = np.sin(np.arange(int(48000 * seconds)) * 0.05).astype(np.float32)
            for start in range(0, len(tone) - 1023, 1024):
                block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
                block.sample_rate, block.pts = 48000, start
                container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def read_clip(path: Path) -> Contents:
    with av.open(str(path)) as container:
        frames = [(float(frame.time), frame) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sounds = container.streams.audio
        samples = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)) if sounds else 0.0
        codec = sounds[0].codec_context.name if sounds else None
    first = frames[0][1]
    return Contents(
        (first.width, first.height), [time for time, _ in frames], codec, samples, first.to_ndarray(format="rgb24")
    )


@pytest.fixture
def clip() -> Callable[..., Path]:
    return write_clip


@pytest.fixture
def contents() -> Callable[[Path], Contents]:
    return read_clip


@pytest.fixture
def stylize(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs ``edgeinfer stylize ARGUMENTS --threads 2``: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["stylize", *map(str, arguments), "--threads", "2"])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
