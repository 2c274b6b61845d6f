"""``edgeinfer export``: a model as an object file, a shared library and a C header."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import time
from pathlib import Path
from typing import Any

import edgeinfer
from edgeinfer.cli.arguments import add_precision, example_text, positive
from edgeinfer.errors import InputError
from edgeinfer.format import read_edge
from edgeinfer.tools.inspect import parse_shapes
from edgeinfer.tools.text import bytes_text

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "export",
        help="compile a model for a program in C or C++, without Python",
        description=(
            "Compile a model for fixed shapes into NAME.o and NAME.so with a C header NAME.h and a CMakeLists.txt: "
            "plan, weights and just the kernels used, without memory allocation of its own. See docs/embedding.md."
        ),
        epilog=example_text(
            "edgeinfer export model.edge --target aarch64 --shape image=1x3x256x256 -o bundle",
            "edgeinfer export model.edge --target x86-64-v3 --shape image=1x3x256x256 --name style -o bundle",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="an .edge or .onnx file")
    parser.add_argument("--target", required=True, metavar="T", help="see 'edgeinfer targets'")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=1x3x360x640",
        help="shape of an input; needed for each that has open dimensions",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser.add_argument("--name", help="prefix of all names in C (default: from the file's name)")
    parser.add_argument(
        "--threads", type=positive, default=2, metavar="N",
        help="threads that the work is cut for; it runs with any other number too (default: 2)",
    )  # fmt: skip
    add_precision(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle and say what it is."""
    importlib.import_module("edgeinfer.codegen.pack").require_compiler("exporting")
    bundle = importlib.import_module("edgeinfer.codegen.bundle")
    sources = importlib.import_module("edgeinfer.codegen.bundle_sources")
    target = importlib.import_module("edgeinfer.codegen.targets").find_target(arguments.target)
    path = arguments.model
    name = arguments.name or sources.c_identifier(path.stem)
    if not _IDENTIFIER.fullmatch(name):
        raise InputError(f"'{name}' is no name for C: letters, digits and underscores, a letter first")
    shapes = parse_shapes(arguments.shape)
    graph = edgeinfer.convert(path) if path.suffix == ".onnx" else read_edge(path)
    start = time.perf_counter()
    made = bundle.export_bundle(
        graph, target, shapes, arguments.output, name, arguments.threads, arguments.precision, _show
    )
    seconds = time.perf_counter() - start
    files = [made.header, made.object, *([made.library] if made.library else [])]
    print(f"{', '.join(map(str, files))}: {bytes_text(made.code_bytes)} of code, "
          f"{bytes_text(made.weight_bytes)} of weights, built in {seconds:.0f} s")  # fmt: skip
    return 0


def _show(done: int, total: int, name: str) -> None:
    if sys.stderr.isatty():
        print(f"{done}/{total} {name:<40}", end="\n" if done == total else "\r", file=sys.stderr, flush=True)
