"""``edgeinfer compare``: two models layer by layer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeinfer.cli.arguments import add_data, add_shapes, example_text, positive
from edgeinfer.plan.kernel_set import PRECISIONS
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.tools.compare import LayerDifference, Variant, compare
from edgeinfer.tools.inspect import parse_shapes
from edgeinfer.tools.page import Page, figures, histograms, table, write_page
from edgeinfer.tools.quantize import read_model
from edgeinfer.tools.samples import read_samples
from edgeinfer.tools.text import decibels, print_table

HEADERS = ["layer", "operator", "number", "SNR (dB)", "cosine", "largest difference"]


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two models layer by layer",
        description=(
            "Run two versions of a model on the same data and list the layers by damage, worst first: the tool to find "
            "the layer that spoils a quantized or converted model. Layers are matched by the names of their nodes."
        ),
        epilog=example_text(
            "edgeinfer compare model.edge model.int8.edge --data photos/",
            "edgeinfer compare model.onnx model.edge --data inputs.npz --html report.html",
            "edgeinfer compare model.edge model.edge --precision-b bfloat16 --data photos/",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", type=Path, metavar="A", help="an .edge or .onnx file")
    parser.add_argument("second", type=Path, metavar="B", help="another version of it")
    add_data(parser, samples=8)
    parser.add_argument("--top", type=positive, default=30, metavar="N", help="list the N worst layers (default: 30)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with histograms of all layers")
    for side in ("a", "b"):
        parser.add_argument(
            f"--level-{side}", choices=available_levels(), default="", help=f"CPU level of {side.upper()}'s kernels"
        )
        parser.add_argument(
            f"--precision-{side}", choices=PRECISIONS, default="float32", help=f"number format of {side.upper()}"
        )
    add_shapes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare and list."""
    first = Variant(read_model(arguments.first), arguments.level_a, arguments.precision_a)
    second = Variant(read_model(arguments.second), arguments.level_b, arguments.precision_b)
    with first.session(first.graph) as session:
        ports = session.inputs
    samples = read_samples(
        ports, arguments.data, arguments.samples, parse_shapes(arguments.shape), arguments.mean, arguments.std,
        arguments.crops,
    )  # fmt: skip
    rows = compare(first, second, samples)
    title = f"{arguments.first.name} and {arguments.second.name}, {len(rows)} layers on {len(samples)} samples"
    print_table(f"{title}, worst first", HEADERS, [_row(row) for row in rows[: arguments.top]])
    if len(rows) > arguments.top:
        print(f"{len(rows) - arguments.top} more layers differ less; --top {len(rows)} lists all")
    if arguments.html:
        write_page(arguments.html, _page(title, rows))
        print(f"wrote {arguments.html}")
    return 0


def _row(row: LayerDifference) -> list[object]:
    op = f"{row.op}, channels scaled" if row.scaled else row.op
    return [row.node, op, row.place, decibels(row.signal_to_noise), f"{row.cosine:.5f}", f"{row.largest:.3g}"]


def _page(title: str, rows: list[LayerDifference]) -> Page:
    page = Page(title)
    page.add_text(
        "Worst layers first; 'number' is the layer's place in the model. 'Channels scaled': B holds other multiples of "
        "the channels, as equalisation leaves them, and is compared without these factors."
    )
    page.add(table(HEADERS, [_row(row) for row in rows]))
    page.add_heading("Results of each layer: A blue, B orange, brown where both are")
    page.add(figures([(_caption(row), _drawing(row)) for row in rows]))
    return page


def _caption(row: LayerDifference) -> str:
    ratio = decibels(row.signal_to_noise)
    return f"{row.node} ({row.op}), {ratio}{'' if ratio == 'exact' else ' dB'}"


def _drawing(row: LayerDifference) -> str:
    return histograms(row.first.tolist(), row.second.tolist(), row.low, row.high)
