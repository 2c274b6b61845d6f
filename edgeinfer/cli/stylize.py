"""``edgeinfer stylize``: pictures and videos in another style."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import edgeinfer
from edgeinfer.cli.arguments import add_precision, add_threads, example_text
from edgeinfer.errors import MediaError
from edgeinfer.pictures import PICTURE_SUFFIXES
from edgeinfer.video.painting import PaintingStylizer, names_painting
from edgeinfer.video.restyle import restyle_contact_sheet, restyle_picture, restyle_video
from edgeinfer.video.shipped_model import painting_models, shipped_model
from edgeinfer.video.size import parse_size
from edgeinfer.video.source import is_picture
from edgeinfer.video.stylizer import Network, Stylizer
from edgeinfer.video.writer import VIDEO_SUFFIXES


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "stylize",
        help="restyle a picture or a video",
        description="Restyle a picture or a video. Videos keep their times, frame rate and sound.",
        epilog=example_text(
            "edgeinfer stylize clip.mp4 -o restyled.mp4 --style 19",
            "edgeinfer stylize clip.mp4 -o restyled.mp4 --style 3:0.6,19:0.4 --size 640x360",
            "edgeinfer stylize photo.jpg -o restyled.png --style 8",
            "edgeinfer stylize photo.jpg -o restyled.png --style painting.jpg",
            "edgeinfer stylize photo.jpg -o styles.png --contact-sheet",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", type=Path, metavar="IN", help="a picture or a video that FFmpeg reads")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT",
        help=f"a video ({', '.join(VIDEO_SUFFIXES)}) or a picture ({', '.join(PICTURE_SUFFIXES)})",
    )  # fmt: skip
    parser.add_argument(
        "--style", metavar="STYLE",
        help="number of a style, such as 19, or a picture that shows the style, such as painting.jpg; or a blend of "
        "either, such as 3:0.6,19:0.4: weights are used as given and usually sum to 1",
    )  # fmt: skip
    parser.add_argument(
        "--contact-sheet", nargs="?", const="all", metavar="STYLES",
        help="instead, write one picture showing all styles, or those given, such as 1,8,19 or a.jpg,b.jpg",
    )  # fmt: skip
    parser.add_argument("--at", type=float, metavar="SECONDS", help="frame for --contact-sheet (default: the middle)")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="an .edge or .onnx file (default: multistyle26); with a painting as the style, a folder that holds "
        "transform.edge and predict.edge",
    )
    parser.add_argument(
        "--size", metavar="WxH", help="size of the result, such as 640x360, 640x or x360 (default: as the input)"
    )
    parser.add_argument("--frames", type=int, metavar="N", help="restyle only the first N frames of a video (0: all)")
    parser.add_argument("--no-sound", action="store_true", help="leave the sound track out")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    add_precision(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Restyle, and say what was written."""
    source, target = arguments.input, arguments.output
    size = parse_size(arguments.size) if arguments.size is not None else None
    if arguments.contact_sheet is not None and arguments.style is not None:
        raise MediaError("--contact-sheet shows several styles: name them there, without --style")
    from_picture = is_picture(source)
    with contextlib.ExitStack() as sessions:
        stylizer = _stylizer(arguments, sessions)
        if arguments.contact_sheet is not None:
            styles = stylizer.sheet_styles(arguments.contact_sheet)
            restyle_contact_sheet(source, target, stylizer, styles, size, arguments.at)
            print(f"{target}: {len(styles)} styles")
        elif from_picture:
            width, height = restyle_picture(source, target, stylizer, arguments.style, size)
            print(f"{target}: {width}x{height}")
        else:
            report = restyle_video(
                source, target, stylizer, arguments.style, size, arguments.frames or None, not arguments.no_sound,
                arguments.quiet,
            )  # fmt: skip
            print(
                f"{target}: {report.frames} frames of {report.width}x{report.height} in {report.seconds:.1f} s, "
                f"{report.frames / report.seconds:.1f} frames/s; sound: {report.sound}"
            )
            if report.damaged:
                print(f"{report.damaged} damaged packets of {source} were left out")
    return 0


def _stylizer(arguments: argparse.Namespace, sessions: contextlib.ExitStack) -> Stylizer:
    """The network, or the two networks if a painting is the style."""

    def load(model: Path) -> Network:
        session = edgeinfer.load(model, arguments.threads, arguments.precision)
        sessions.enter_context(session)
        return session

    if names_painting(arguments.style or arguments.contact_sheet or ""):
        transform, predict = painting_models(arguments.model)
        return PaintingStylizer(load(transform), load(predict))
    return Stylizer(load(arguments.model or shipped_model()))
