"""``edgeinfer pack``: all kernels of a target in one library, for machines without a compiler."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Any

from edgeinfer.cli.arguments import example_text
from edgeinfer.tools.text import bytes_text


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "pack",
        help="compile all kernels for a CPU, for machines without a compiler",
        description=(
            "Compile all kernels of a target into one shared library with a manifest. Where EDGEINFER_PACKS names the "
            "folder, edgeinfer needs neither Numba nor a compiler."
        ),
        epilog=example_text(
            "edgeinfer pack --target aarch64 -o packs",
            "EDGEINFER_PACKS=packs edgeinfer run model.edge --input x=x.npy --output results",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--target", required=True, metavar="T", help="see 'edgeinfer targets'")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the pack")


def run(arguments: argparse.Namespace) -> int:
    """Build the pack and say what it is."""
    pack = importlib.import_module("edgeinfer.codegen.pack")
    target = importlib.import_module("edgeinfer.codegen.targets").find_target(arguments.target)
    start = time.perf_counter()
    library = pack.build_pack(target, arguments.output, _show).library
    seconds = time.perf_counter() - start
    print(f"{library}: {bytes_text(library.stat().st_size)}, built in {seconds:.0f} s")
    return 0


def _show(done: int, total: int, name: str) -> None:
    if sys.stderr.isatty():
        print(f"{done}/{total} {name:<40}", end="\n" if done == total else "\r", file=sys.stderr, flush=True)
