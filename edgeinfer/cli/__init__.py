"""The command ``edgeinfer VERB``.

Exit status: 0 done, 1 the result is not as wanted (``convert`` found a difference), 2 a mistake in the command
or its files, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback

import edgeinfer
from edgeinfer.errors import EdgeInferError

USER_ERROR = 2
INTERRUPTED = 130

# Each verb is a module of this package with ``add_parser(subparsers)`` and ``run(arguments) -> int``.
VERBS = ("convert", "quantize", "compare", "inspect", "run", "bench", "tune", "stylize", "targets", "pack", "export")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="edgeinfer",
        description="Convert, inspect, run and measure neural networks on small CPUs.",
        epilog="'edgeinfer VERB --help' explains a verb and shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"edgeinfer {edgeinfer.__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        importlib.import_module(f"edgeinfer.cli.{verb}").add_parser(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parsed = build_parser().parse_args(arguments)
    verb = importlib.import_module(f"edgeinfer.cli.{parsed.verb}")
    try:
        return int(verb.run(parsed))
    except EdgeInferError as error:
        if os.environ.get("EDGEINFER_LOG", "").lower() == "debug":
            traceback.print_exc()
        print(f"edgeinfer {parsed.verb}: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"edgeinfer {parsed.verb}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; nothing more can be said.
        sys.stderr.close()
        return 0
