"""Tables and numbers as text, by rich where it is installed."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
import time
from collections.abc import Sequence

# Seconds between two lines of progress where there is no terminal.
_LINE_INTERVAL = 5.0


class StatusLine:
    """What a long command is doing, on standard error: one line that changes, or a line now and then.

    ``EDGEINFER_LOG=quiet`` shows nothing.
    """

    def __init__(self) -> None:
        self._quiet = os.environ.get("EDGEINFER_LOG", "").lower() in ("quiet", "error")
        self._terminal = sys.stderr.isatty()
        self._told = -math.inf
        self._width = 0

    def show(self, text: str) -> None:
        """Say what is being done now."""
        if self._quiet:
            return
        if self._terminal:
            print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
            self._width = len(text)
        elif time.monotonic() - self._told >= _LINE_INTERVAL:
            self._told = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._terminal and self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)
            self._width = 0


def print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on standard output; numbers are aligned to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    right = [
        all(isinstance(row[column], (int, float)) or str(row[column])[:1].isdigit() for row in rows)
        for column in range(len(headers))
    ]
    if sys.stdout.isatty() and importlib.util.find_spec("rich"):
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title, title_justify="left")
        for header, numeric in zip(headers, right, strict=True):
            table.add_column(header, justify="right" if numeric else "left")
        for row in texts:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(text) for text in column) for column in zip(headers, *texts, strict=True)]
    if title:
        print(title)
    for row in [list(headers), *texts]:
        cells = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        ]
        print("  " + "  ".join(cells).rstrip())


def decibels(value: float) -> str:
    """A ratio in dB for people; ``exact`` where there is no error."""
    return "exact" if value == math.inf else f"{value:.1f}"


def bytes_text(count: int) -> str:
    """A number of bytes for people: ``712 kB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
