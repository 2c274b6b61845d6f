"""Whole files in another style: videos, pictures, contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeinfer.errors import MediaError
from edgeinfer.files import replacing
from edgeinfer.pictures import PICTURE_SUFFIXES, write_picture
from edgeinfer.video.contact_sheet import contact_sheet
from edgeinfer.video.library import media_errors
from edgeinfer.video.pipeline import run_pipeline
from edgeinfer.video.progress import Progress
from edgeinfer.video.reader import Frame, VideoReader
from edgeinfer.video.size import SizeRequest
from edgeinfer.video.source import frame_at, is_picture, load_picture
from edgeinfer.video.stylizer import Stylizer
from edgeinfer.video.tensors import to_pixels, to_tensor
from edgeinfer.video.writer import VIDEO_SUFFIXES, VideoWriter


@dataclass(frozen=True)
class VideoReport:
    """What came of a video.

    Attributes:
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        frames: number of frames written.
        seconds: time it took.
        sound: what happened to the sound track, "none" if there is none.
        damaged: number of packets of the source that could not be decoded and were left out.
    """

    width: int
    height: int
    frames: int
    seconds: float
    sound: str
    damaged: int


def restyle_video(
    source: Path,
    target: Path,
    stylizer: Stylizer,
    style: str | None = None,
    size: SizeRequest | None = None,
    limit: int | None = None,
    keep_sound: bool = True,
    quiet: bool = False,
) -> VideoReport:
    """Restyle a video frame by frame; times, frame rate and sound are kept.

    Decoding, the network and encoding overlap. The target appears once it is complete: a failure or Ctrl-C leaves
    nothing behind, and an older file of that name as it was.

    Args:
        source: any file with a video stream that FFmpeg reads.
        target: an .mp4, .m4v, .mov or .mkv file.
        stylizer: the network.
        style: such as ``3`` or ``3:0.6,19:0.4``, or a painting's path.
        size: size of the result; odd sides are made even.
        limit: number of frames after which to end.
        keep_sound: whether to take over the sound track.
        quiet: show no progress.

    Raises:
        MediaError: if the source cannot be decoded, the target cannot be written, or there is no such style.
    """
    _check_target(source, target, VIDEO_SUFFIXES, "a video")
    weights = stylizer.weights(style)
    frame_size = replace(_fixed(stylizer, size), even=True)
    sound = source if keep_sound else None
    with (
        VideoReader(source, frame_size, limit=limit) as reader,
        media_errors("write", target),
        replacing(target) as part,
    ):
        size_of_frames = reader.width, reader.height
        with (
            VideoWriter(part, target, size_of_frames, reader.rate, reader.time_base, sound, reader.origin) as writer,
            Progress(reader.frame_count, quiet) as progress,
        ):
            _run(reader, writer, stylizer, weights, progress)
            writer.finish(None if limit is None else progress.frames / reader.rate)
        return VideoReport(*size_of_frames, progress.frames, progress.seconds, writer.sound, reader.damaged)


def _run(
    reader: VideoReader, writer: VideoWriter, stylizer: Stylizer, weights: np.ndarray | None, progress: Progress
) -> None:
    """Decode and prepare, run the network, finish and encode: three stages at a time."""

    def restyled(item: tuple[Frame, np.ndarray]) -> tuple[Frame, np.ndarray]:
        frame, tensor = item
        return frame, stylizer.restyle_tensor(tensor, weights)

    def encoded(item: tuple[Frame, np.ndarray]) -> None:
        frame, tensor = item
        writer.write(to_pixels(tensor, reader.width, reader.height), frame.ticks, frame.duration)
        progress.advance()

    run_pipeline(((frame, to_tensor(frame.pixels)) for frame in reader), restyled, encoded)


def restyle_picture(
    source: Path, target: Path, stylizer: Stylizer, style: str | None = None, size: SizeRequest | None = None
) -> tuple[int, int]:
    """Restyle a picture; returns its width and height.

    Args:
        source: a picture that Pillow or FFmpeg reads.
        target: .png, .jpg or another kind of picture.
        stylizer: the network.
        style: such as ``3`` or ``3:0.6,19:0.4``, or a painting's path.
        size: size of the result.

    Raises:
        MediaError: if the source cannot be read, the target cannot be written, or there is no such style.
    """
    _check_target(source, target, PICTURE_SUFFIXES, "a picture")
    weights = stylizer.weights(style)
    pixels = load_picture(source, _fixed(stylizer, size))
    write_picture(target, stylizer.restyle_pixels(pixels, weights))
    return pixels.shape[1], pixels.shape[0]


def restyle_contact_sheet(
    source: Path,
    target: Path,
    stylizer: Stylizer,
    styles: Sequence[str],
    size: SizeRequest | None = None,
    at: float | None = None,
) -> int:
    """One picture, or one frame of a video, in several styles on a sheet; returns the number of styles.

    Args:
        source: a picture or a video.
        target: .png, .jpg or another kind of picture.
        stylizer: the network.
        styles: the styles, as ``stylizer.weights`` takes them.
        size: size at which the network runs.
        at: seconds from the start of a video; by default half of its length.

    Raises:
        MediaError: if the source cannot be read, or the target cannot be written.
    """
    _check_target(source, target, PICTURE_SUFFIXES, "a contact sheet")
    wanted = _fixed(stylizer, size)
    pixels = load_picture(source, wanted) if is_picture(source) else frame_at(source, wanted, at)
    restyled = [(stylizer.label(style), stylizer.restyle_pixels(pixels, stylizer.weights(style))) for style in styles]
    write_picture(target, contact_sheet([("original", pixels), *restyled]))
    return len(styles)


def _fixed(stylizer: Stylizer, size: SizeRequest | None) -> SizeRequest:
    """The wanted size, which a network of one size only decides itself."""
    if stylizer.fixed_size is None:
        return size or SizeRequest()
    if size is not None and (size.width, size.height) != stylizer.fixed_size:
        width, height = stylizer.fixed_size
        raise MediaError(f"the model takes pictures of {width}x{height} only")
    return SizeRequest(*stylizer.fixed_size)


def _check_target(source: Path, target: Path, suffixes: Sequence[str], what: str) -> None:
    if target.suffix.lower() not in suffixes:
        raise MediaError(f"cannot write {target}: {what} is written to a file named {', '.join(suffixes)}")
    if not target.parent.is_dir():
        raise MediaError(f"cannot write {target}: there is no folder {target.parent}")
    if target.is_dir():
        raise MediaError(f"cannot write {target}: it is a folder")
    if source.exists() and target.exists() and source.samefile(target):
        raise MediaError(f"cannot write {target}: it is the source; choose another name")
