"""``edgeinfer targets``: what kernels can be compiled for."""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any

from edgeinfer.cli.arguments import example_text
from edgeinfer.runtime.cpu import available_levels, cpu_level
from edgeinfer.runtime.pack import find_pack
from edgeinfer.tools.text import print_table


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "targets",
        help="list the CPUs that kernels can be compiled for",
        description="List the targets of 'edgeinfer pack', the systems that each is there for, which this machine can "
        "run and uses (EDGEINFER_LEVEL sets a lower one), and the packs at hand.",
        epilog=example_text("edgeinfer targets", "edgeinfer targets --json"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    module = importlib.import_module("edgeinfer.codegen.targets")
    levels = available_levels()
    described = [
        {
            "target": target.name,
            "level": target.level.name,
            "systems": module.systems_of(target.level.architecture),
            "lanes": target.level.lanes,
            "needs": target.level.needs,
            "runs_here": target.level.name in levels,
            "pack": find_pack(target.level.name),
        }
        for target in module.TARGETS.values()
    ]
    if arguments.json:
        print(json.dumps(described, indent=2))
        return 0
    here = cpu_level() if levels else ""
    rows = [
        [
            row["target"],
            row["level"],
            ", ".join(row["systems"]),
            row["needs"],
            "in use" if row["level"] == here else "yes" if row["runs_here"] else "",
            row["pack"] or "",
        ]
        for row in described
    ]
    print_table("targets", ["target", "level", "systems", "needs", "runs here", "pack"], rows)
    print("A target without a system's name is for the first system; aarch64-android, for example, is for another.")
    print("For macOS and wasm there are only bundles (edgeinfer export).")
    return 0
