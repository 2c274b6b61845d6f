"""``edgeinfer tune``: measure which kernels are the quickest for a model on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeinfer.cli.arguments import add_precision, add_shapes, add_threads, example_text
from edgeinfer.tools.inspect import parse_shapes
from edgeinfer.tools.quantize import read_model
from edgeinfer.tools.text import print_table
from edgeinfer.tools.tune import tune


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "tune",
        help="measure which kernels are the quickest for a model on this machine",
        description="Measure all kernels that each layer could use, and keep in the user's cache those that make runs "
        "quicker than the planner's choice. It holds for this model with these shapes and threads. Never needed.",
        epilog=example_text(
            "edgeinfer tune model.edge",
            "edgeinfer tune model.edge --shape image=1x3x360x640 --threads 2",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="an .edge or .onnx file")
    add_shapes(parser)
    add_precision(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Tune, and say what came of it."""
    graph = read_model(arguments.model)
    result = tune(graph, parse_shapes(arguments.shape), arguments.threads, arguments.precision)
    if result.choices:
        print_table("kernels that are quicker here", ["node", "kernel"], list(result.choices.items()))
        gain = 1 - result.after_ms / result.before_ms
        print(f"{result.before_ms:.2f} ms become {result.after_ms:.2f} ms, {gain:.1%} less: {result.path}")
    else:
        print(f"{result.nodes} layers have several kernels; the planner's choice is the quickest here")
    return 0
