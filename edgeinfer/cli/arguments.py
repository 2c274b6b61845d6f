"""Arguments that several verbs share."""

from __future__ import annotations

import argparse

from edgeinfer.plan.kernel_set import PRECISIONS


def positive(text: str) -> int:
    """A number from 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return int(text)


def thread_count(text: str) -> int | str:
    """``auto`` or a number of threads."""
    if text == "auto":
        return text
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is neither 'auto' nor a positive number")
    return int(text)


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add ``--precision``."""
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32",
        help="number format of products in convolutions (default: float32; bfloat16 needs AVX-512 BF16)",
    )  # fmt: skip


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads", type=thread_count, default="auto", metavar="N", help="number of threads (default: auto)"
    )


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """Add ``--shape``, which may be given once for each input."""
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=1x3x360x640",
        help="shape of an input; may be repeated. Open dimensions of pictures default to 256, others to 1",
    )  # fmt: skip


def example_text(*lines: str) -> str:
    """The examples at the end of a verb's help."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)
