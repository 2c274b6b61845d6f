"""``edgeinfer targets``: what kernels can be compiled for."""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any

from edgeinfer.cli.arguments import example_text
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.pack import find_pack
from edgeinfer.tools.text import print_table


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "targets",
        help="list the CPUs that kernels can be compiled for",
        description="List the targets of 'edgeinfer pack', which of them this machine can run, and the packs at hand.",
        epilog=example_text("edgeinfer targets", "edgeinfer targets --json"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    targets = importlib.import_module("edgeinfer.codegen.targets").TARGETS
    levels = available_levels()
    described = [
        {
            "target": target.name,
            "level": target.level.name,
            "lanes": target.level.lanes,
            "needs": target.level.needs,
            "runs_here": target.level.name in levels,
            "pack": find_pack(target.level.name),
        }
        for target in targets.values()
    ]
    if arguments.json:
        print(json.dumps(described, indent=2))
        return 0
    rows = [
        [row["target"], row["level"], row["needs"], "yes" if row["runs_here"] else "", row["pack"] or ""]
        for row in described
    ]
    print_table("targets", ["target", "level", "needs", "runs here", "pack"], rows)
    return 0
