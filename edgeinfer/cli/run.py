"""``edgeinfer run``: a model on files."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import edgeinfer
from edgeinfer.cli.arguments import add_precision, add_threads, example_text
from edgeinfer.errors import MediaError
from edgeinfer.pictures import write_picture
from edgeinfer.tools.convert_check import gather_inputs
from edgeinfer.tools.images import as_picture, write_array
from edgeinfer.tools.text import print_table


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "run",
        help="run a model on .npy files or pictures",
        description=(
            "Run a model once. Each output is written as NAME.npy, and as NAME.png if it is a picture (with Pillow)."
        ),
        epilog=example_text(
            "edgeinfer run model.edge --input image=photo.png --output results",
            "edgeinfer run model.edge --input a=a.npy --input b=b.npy --output results",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="an .edge or .onnx file, or a bundle (.so)")
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=FILE", help=".npy file or picture; one for each input"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the outputs")
    add_precision(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run and write the outputs."""
    folder = arguments.output
    with edgeinfer.load(arguments.model, arguments.threads, arguments.precision) as session:
        feeds = gather_inputs(session.inputs, arguments.input)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"cannot make the output folder {folder}: {error.strerror}") from error
        results = session.run(feeds)
    pictures = importlib.util.find_spec("PIL") is not None
    rows = []
    for name, array in results.items():
        stem = "".join(character if character.isalnum() or character in "._-" else "_" for character in name)
        write_array(folder / f"{stem}.npy", array)
        written = [f"{stem}.npy"]
        picture = as_picture(array) if pictures else None
        if picture is not None:
            write_picture(folder / f"{stem}.png", picture)
            written.append(f"{stem}.png")
        rows.append([name, array.dtype, "x".join(map(str, array.shape)), ", ".join(written)])
    print_table(f"outputs in {folder}", ["output", "dtype", "shape", "files"], rows)
    return 0
