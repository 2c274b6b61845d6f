"""Make the clip of the demonstration: ``python models/demo/make_clip.py`` writes ``clip.mp4`` beside this file.

Four freely redistributable photographs of scikit-image (licences in README.md) under a slowly moving camera, with a
synthesised arpeggio. Needs scikit-image besides the ``video`` extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from skimage import data

WIDTH, HEIGHT = 640, 360
RATE = 24
SHOT_FRAMES = 36
FADE_FRAMES = 8
SAMPLE_RATE = 48000

# An arpeggio of A minor and F major, in hertz.
NOTES = [220.0, 261.63, 329.63, 440.0, 523.25, 440.0, 329.63, 261.63]
NOTES += [174.61, 220.0, 261.63, 349.23, 440.0, 349.23, 261.63, 220.0]
NOTE_SECONDS = 0.35


@dataclass(frozen=True)
class Shot:
    """A camera move over one picture, from one window to another; a window is (centre x, centre y, width) in pixels."""

    picture: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]


SHOTS = [
    Shot("coffee", (300, 190, 590), (265, 200, 380)),
    Shot("astronaut", (256, 340, 500), (230, 128, 420)),
    Shot("rocket", (330, 300, 420), (320, 160, 560)),
    Shot("chelsea", (190, 150, 300), (226, 140, 440)),
]


def window(shot: Shot, progress: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the camera's window; it speeds up and slows down by a half cosine."""
    eased = 0.5 - 0.5 * np.cos(np.pi * progress)
    x, y, width = (a + (b - a) * eased for a, b in zip(shot.start, shot.end, strict=True))
    height = width * HEIGHT / WIDTH
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def shot_frames(shot: Shot) -> list[np.ndarray]:
    """The frames of one shot, uint8 [HEIGHT, WIDTH, 3]."""
    picture = Image.fromarray(getattr(data, shot.picture)())
    moves = (window(shot, index / (SHOT_FRAMES - 1)) for index in range(SHOT_FRAMES))
    return [
        np.asarray(picture.transform((WIDTH, HEIGHT), Image.Transform.EXTENT, move, Image.Resampling.BICUBIC))
        for move in moves
    ]


def all_frames() -> list[np.ndarray]:
    """All shots, each faded into the next."""
    frames = shot_frames(SHOTS[0])
    for shot in SHOTS[1:]:
        following = shot_frames(shot)
        for index in range(FADE_FRAMES):
            share = (index + 1) / (FADE_FRAMES + 1)
            mixed = frames[index - FADE_FRAMES] * (1 - share) + following[index] * share
            frames[index - FADE_FRAMES] = mixed.round().astype(np.uint8)
        frames += following[FADE_FRAMES:]
    return frames


def arpeggio(seconds: float) -> np.ndarray:
    """Plucked notes, each of four harmonics that die away; float32 [1, samples] in -1..1."""
    samples = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    for index in range(int(seconds / NOTE_SECONDS)):
        first = round(index * NOTE_SECONDS * SAMPLE_RATE)
        time = np.arange(len(samples) - first) / SAMPLE_RATE
        pitch = NOTES[index % len(NOTES)]
        for harmonic in range(1, 5):
            tone = np.sin(2 * np.pi * pitch * harmonic * time) * np.exp(-time * 2.5 * harmonic) / harmonic
            samples[first:] += (0.2 * tone * np.minimum(1, time * 200)).astype(np.float32)
    fade = round(0.5 * SAMPLE_RATE)
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.clip(samples, -1, 1)[None]


def write_clip(path: Path) -> None:
    """Encode pictures and sound."""
    frames = all_frames()
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
        video = output.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 96000
        for pixels in frames:
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(arpeggio(len(frames) / RATE), format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        output.mux(audio.encode(sound))
        output.mux(audio.encode(None))


if __name__ == "__main__":
    write_clip(Path(__file__).with_name("clip.mp4"))
