"""``edgeinfer bench``: how fast a model runs here."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edgeinfer.cli.arguments import add_precision, add_shapes, add_threads, example_text, positive
from edgeinfer.tools.bench import bench
from edgeinfer.tools.bench_page import write_bench_page
from edgeinfer.tools.inspect import parse_shapes, shape_text
from edgeinfer.tools.text import bytes_text, print_table


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "bench",
        help="measure a model on this machine",
        description="Measure loading, planning, the first run and many more, with random inputs.",
        epilog=example_text(
            "edgeinfer bench model.edge --shape image=1x3x360x640 --threads 1",
            "edgeinfer bench model.edge --profile --html steps.html",
            "edgeinfer bench model.edge --json > figures.json",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="an .edge or .onnx file")
    parser.add_argument("--runs", type=positive, default=30, metavar="N", help="timed runs (default: 30)")
    parser.add_argument("--profile", action="store_true", help="also measure every step by itself")
    parser.add_argument(
        "--html", type=Path, metavar="FILE",
        help="profile, and write a page: timeline, steps beside the machine's peak, map of the memory",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    add_shapes(parser)
    add_precision(parser)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    shapes = parse_shapes(arguments.shape)
    profile = arguments.profile or arguments.html is not None
    result = bench(arguments.model, shapes, arguments.threads, arguments.runs, profile, arguments.precision)
    if arguments.html is not None:
        write_bench_page(arguments.html, result)
        print(f"wrote {arguments.html}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return 0
    shown = ", ".join(f"{name} {shape_text(shape)}" for name, shape in result["shapes"].items())
    print(f"{result['model']}: {shown}, {result['threads']} thread(s), {result['level']}")
    names = ("load", "plan", "first", "median", "p95", "min")
    print_table("milliseconds", names, [[f"{result[f'{name}_ms']:.2f}" for name in names]])
    print(f"{result['gmac_per_s']:.1f} GMAC/s, peak memory {bytes_text(result['peak_memory_bytes'])}, arena "
          f"{bytes_text(result['arena_bytes'])}, packed weights {bytes_text(result['weight_bytes'])}, "
          f"{result['host_steps']} host step(s)")  # fmt: skip
    if result["steps"] is not None:
        total = sum(step["ms"] for step in result["steps"])
        rows = [
            [
                step["node"],
                step["op"],
                step["kernel"] or f"host: {step['reason']}",
                f"{step['ms']:.3f}",
                f"{step['ms'] / total:.1%}",
                f"{step['gmac_per_s']:.1f}",
            ]
            for step in result["steps"]
        ]
        print_table("steps", ["node", "operator", "kernel", "ms", "share", "GMAC/s"], rows)
    return 0
