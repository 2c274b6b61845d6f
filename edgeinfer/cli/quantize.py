"""``edgeinfer quantize``: a float model becomes one on 8-bit integers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeinfer.cli.arguments import add_data, add_shapes, add_threads, example_text
from edgeinfer.errors import InputError
from edgeinfer.format import write_edge
from edgeinfer.passes import ShortenNames, StoreWeightsAsFloat16, run_passes
from edgeinfer.quantize import METHODS
from edgeinfer.runtime.session import Session
from edgeinfer.tools.inspect import parse_shapes
from edgeinfer.tools.quantization_report import print_report, write_html
from edgeinfer.tools.quantize import make_goal, quantize, read_model
from edgeinfer.tools.samples import read_samples
from edgeinfer.tools.session_backend import SessionBackend
from edgeinfer.tools.text import StatusLine, bytes_text


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "quantize",
        help="turn a float model into one on 8-bit integers",
        description=(
            "Quantize a model after training: run it on calibration data, choose ranges, round weights (int8 with a "
            "scale for each output channel) and activations (uint8). Layers that would break a goal stay float."
        ),
        epilog=example_text(
            "edgeinfer quantize model.edge --data photos/ -o model.int8.edge",
            "edgeinfer quantize model.edge --data photos/ --psnr 35 --explain --html report.html -o model.int8.edge",
            "edgeinfer quantize classifier.edge --data crops.npz --agreement 0.99 -o classifier.int8.edge",
            "edgeinfer quantize detector.onnx --data calib.npz --metric metric.py:map50 --least 0.4 -o d.int8.edge",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="an .edge or .onnx file with float weights")
    add_data(parser, samples=32)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .edge file to write")
    parser.add_argument(
        "--method", choices=list(METHODS), default="mse", help="how ranges of activations are chosen (default: mse)"
    )
    parser.add_argument("--psnr", type=float, metavar="DB", help="keep layers float until every output has this PSNR")
    parser.add_argument(
        "--agreement",
        type=float,
        metavar="SHARE",
        help="keep layers float until so many top-1 results on data not seen can be expected to be the same",
    )
    parser.add_argument("--metric", metavar="FILE.py:NAME", help="a function of your own: metric(expected, found)")
    parser.add_argument("--least", type=float, help="the least value of --metric that will do")
    parser.add_argument("--keep-float", nargs="+", default=[], metavar="NAME", help="layers that stay float")
    parser.add_argument(
        "--keep-slow", action="store_true", help="use integers even where float is faster on this machine"
    )
    parser.add_argument("--explain", action="store_true", help="measure the damage that each layer does alone")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write the report as a page with pictures, and the damage that each layer does",
    )
    add_shapes(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Quantize, report, write."""
    if arguments.output.suffix == ".onnx":
        raise InputError(f"{arguments.output} would be no ONNX file: give the output a name that ends in .edge")
    goal = make_goal(arguments.psnr, arguments.agreement, arguments.metric, arguments.least)
    graph = read_model(arguments.model)
    with Session(graph, threads=1) as session:
        ports = session.inputs
    samples = read_samples(
        ports, arguments.data, arguments.samples, parse_shapes(arguments.shape), arguments.mean, arguments.std,
        arguments.crops,
    )  # fmt: skip
    status = StatusLine()
    try:
        result = quantize(
            graph, samples, arguments.method, arguments.keep_float, goal, arguments.explain or bool(arguments.html),
            arguments.keep_slow, arguments.threads, status.show,
        )  # fmt: skip
    finally:
        status.end()
    # What stays float is small beside the integers, and so should be names; half precision holds the former.
    stored, _ = run_passes(result.graph, [StoreWeightsAsFloat16(), ShortenNames()])
    write_edge(stored, arguments.output)
    before, after = SessionBackend().compare_seconds(graph, result.graph, samples[0])
    times = (before * 1e3, after * 1e3)
    sizes = (arguments.model.stat().st_size, arguments.output.stat().st_size)
    print_report(result, len(samples), times, sizes, goal, arguments.explain)
    print(f"wrote {arguments.output}: {bytes_text(sizes[1])}")
    if arguments.html:
        write_html(arguments.html, arguments.model.name, result, times, sizes)
        print(f"wrote {arguments.html}")
    return 0
