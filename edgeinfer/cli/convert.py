"""``edgeinfer convert``: an ONNX model becomes an ``.edge`` file."""

from __future__ import annotations

import argparse
import importlib
import math
from pathlib import Path
from typing import Any

from edgeinfer.cli.arguments import add_shapes, example_text
from edgeinfer.errors import ConversionError
from edgeinfer.format import write_edge
from edgeinfer.tools.inspect import parse_shapes
from edgeinfer.tools.text import bytes_text, print_table

# By format of the weights, the largest difference of an output, relative to its range, that rounding explains. What
# integers cost depends on the model: `edgeinfer compare` shows it on real data.
LIMITS = {"float32": 1e-3, "float16": 2e-2, "int8": math.inf, "int4": math.inf}


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "convert",
        help="convert an ONNX model to an .edge file",
        description="Convert an ONNX model, fuse its operators, compare it with the original, and write it.",
        epilog=example_text(
            "edgeinfer convert model.onnx -o model.edge",
            "edgeinfer convert model.onnx -o small.edge --weights int4 --explain",
            "edgeinfer convert model.onnx -o model.edge --input image=photo.png",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="the ONNX file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .edge file to write")
    parser.add_argument(
        "--weights", choices=tuple(LIMITS), default="float32",
        help="how to store large weights: float16 is half the size, int8 about a quarter, int4 (32 share a scale) "
        "about a seventh; computation stays in float32 (default: float32)",
    )  # fmt: skip
    parser.add_argument(
        "--float16", action="store_const", const="float16", dest="weights", help="the same as --weights float16"
    )
    parser.add_argument("--explain", action="store_true", help="say why fusions did not apply")
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=FILE", help="compare on this input (.npy or picture)"
    )
    parser.add_argument("--no-check", action="store_true", help="do not compare with the original")
    add_shapes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert; returns 1 if the outputs differ by more than is explained by rounding."""
    if arguments.output.suffix == ".onnx":
        raise ConversionError(f"{arguments.output} would be no ONNX file: give the output a name that ends in .edge")
    shapes = parse_shapes(arguments.shape)
    try:
        converters = importlib.import_module("converters")
        importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        raise ConversionError(
            f"converting needs the package '{error.name}': pip install 'edgeinfer[convert]'"
        ) from error
    graph, report = converters.convert(arguments.model, weights=arguments.weights)
    operators = sorted({*report.before, *report.after})
    print_table(
        f"operators of {arguments.model.name}",
        ["operator", "before", "after"],
        [[name, report.before.get(name, 0), report.after.get(name, 0)] for name in operators]
        + [["all", sum(report.before.values()), sum(report.after.values())]],
    )
    print_table("what was done", ["pass", "times"], list(report.counts.items()))
    if arguments.explain:
        rows = [[refusal.rule, refusal.node, refusal.reason] for refusal in report.refusals]
        print_table("what was not fused", ["pass", "node", "reason"], rows or [["", "", "nothing was refused"]])
    write_edge(graph, arguments.output)
    before, after = arguments.model.stat().st_size, arguments.output.stat().st_size
    print(f"wrote {arguments.output}: {bytes_text(after)} (the ONNX file has {bytes_text(before)})")
    if arguments.no_check:
        return 0
    check = importlib.import_module("edgeinfer.tools.convert_check")
    result = check.compare(arguments.model, arguments.output, arguments.input, shapes)
    limit = LIMITS[arguments.weights]
    print_table(
        f"compared with {result.oracle} on {result.inputs}",
        ["output", "largest difference", "relative to its range"],
        [[output.name, f"{output.largest:.2e}", f"{output.relative:.2e}"] for output in result.outputs],
    )
    wrong = [output for output in result.outputs if output.exceeds(limit)]
    for output in wrong:
        expected = f"expected below {limit:.0e}"
        print(f"warning: output '{output.name}' differs by {output.relative:.1e} of its range ({expected})")
    for output in result.outputs:
        if output.relative > limit and output not in wrong:
            print(f"'{output.name}' has a small range here; {output.largest:.1e} is rounding of float32")
    return 1 if wrong else 0
