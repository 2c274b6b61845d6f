"""Tables and numbers as text, by rich where it is installed."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence


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
