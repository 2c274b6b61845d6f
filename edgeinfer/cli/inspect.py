"""``edgeinfer inspect``: what is in a model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import edgeinfer
from edgeinfer.cli.arguments import add_shapes, example_text
from edgeinfer.format import read_edge
from edgeinfer.tools.inspect import describe, parse_shapes, shape_text
from edgeinfer.tools.text import bytes_text, print_table


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what is in a model",
        description="Show inputs, outputs, operators, parameters and size of a model, and its plan for given shapes.",
        epilog=example_text(
            "edgeinfer inspect model.edge",
            "edgeinfer inspect model.edge --shape image=1x3x360x640",
            "edgeinfer inspect model.onnx --json",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="an .edge or .onnx file")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    add_shapes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the description."""
    path = arguments.model
    graph = edgeinfer.convert(path) if path.suffix == ".onnx" else read_edge(path, verify=True)
    described = describe(graph, path, parse_shapes(arguments.shape))
    if arguments.json:
        print(json.dumps(described, indent=2))
        return 0
    print(f"{described['name']}: {described['parameters']:,} parameters, {bytes_text(described['file_bytes'])}")
    for title in ("inputs", "outputs"):
        rows = [[port["name"], port["dtype"], shape_text(port["shape"])] for port in described[title]]
        print_table(title, ["name", "dtype", "shape"], rows)
    print_table("operators", ["operator", "nodes"], list(described["operators"].items()))
    plan = described["plan"]
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in plan["shapes"].items())
    print(f"planned for {shapes}, 1 thread:")
    print(f"  {plan['macs'] / 1e6:,.1f} million MACs in {plan['native_steps']} native steps")
    print(f"  arena {bytes_text(plan['arena_bytes'])} (tensors {bytes_text(plan['activation_bytes'])}, at least "
          f"{bytes_text(plan['lower_bound_bytes'])}), packed weights {bytes_text(plan['weight_bytes'])}")  # fmt: skip
    if plan["host_steps"]:
        rows = [[step["node"], step["op"], step["reason"]] for step in plan["host_steps"]]
        print_table("steps that run on the host, by NumPy", ["node", "operator", "reason"], rows)
    return 0
