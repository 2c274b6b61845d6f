"""Arguments that several verbs share."""

from __future__ import annotations

import argparse
from pathlib import Path

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
        help="number format (default: float32); bfloat16, for products in convolutions, needs AMX or AVX-512 BF16; "
        "float16, for tensors and arithmetic, needs Armv8.2",
    )  # fmt: skip


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads", type=thread_count, default="auto", metavar="N", help="number of threads (default: auto)"
    )


def _channel_numbers(text: str) -> list[float]:
    """One number, or three for the channels."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise argparse.ArgumentTypeError(f"'{text}' is neither one number nor three joined by commas")
    return numbers


def _divisors(text: str) -> list[float]:
    numbers = _channel_numbers(text)
    if not all(numbers):
        raise argparse.ArgumentTypeError("pictures cannot be divided by 0")
    return numbers


def add_data(parser: argparse.ArgumentParser, samples: int) -> None:
    """Add ``--data`` and how it is read."""
    parser.add_argument(
        "--data", type=Path, required=True,
        help="folder with pictures, .npz with an array for every input, or .npy; the first axis counts samples",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=positive, default=samples, metavar="N",
        help=f"at most so many pictures or arrays (default: {samples})",
    )  # fmt: skip
    parser.add_argument(
        "--crops", type=positive, default=0, metavar="N",
        help="random parts of each picture, 40 to 100 %% of its size, instead of its middle",
    )  # fmt: skip
    parser.add_argument(
        "--mean", type=_channel_numbers, default=[0.0], help="taken from pictures in 0..1, such as 0.485,0.456,0.406"
    )
    parser.add_argument("--std", type=_divisors, default=[1.0], help="what pictures are then divided by")


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """Add ``--shape``, which may be given once for each input."""
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=1x3x360x640",
        help="shape of an input; may be repeated. Open dimensions of pictures default to 256, others to 1",
    )  # fmt: skip


def example_text(*lines: str) -> str:
    """The examples at the end of a verb's help."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)
