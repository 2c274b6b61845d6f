"""Progress of a video on standard error: a bar of rich on a terminal, else a line every few seconds."""

from __future__ import annotations

import importlib.util
import sys
import time
from types import TracebackType
from typing import Any

# Seconds between two lines where there is no terminal.
LINE_INTERVAL = 2.0


class Progress:
    """Counts frames and shows them with frames per second.

    Args:
        total: expected number of frames, None if unknown.
        quiet: show nothing.
    """

    def __init__(self, total: int | None, quiet: bool = False) -> None:
        self._total = total
        self._quiet = quiet
        self._started = self._told = time.perf_counter()
        self.frames = 0
        self._bar: Any = None
        if not quiet and sys.stderr.isatty() and importlib.util.find_spec("rich"):
            self._bar, self._task = _rich_bar(total)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def rate(self) -> float:
        """Frames per second since the start."""
        return self.frames / max(self.seconds, 1e-9)

    def advance(self) -> None:
        """Count one more frame."""
        self.frames += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, rate=f"{self.rate:.1f} frames/s")
        elif not self._quiet and time.perf_counter() - self._told >= LINE_INTERVAL:
            self._told = time.perf_counter()
            of_total = f" of {self._total}" if self._total else ""
            print(f"frame {self.frames}{of_total}, {self.rate:.1f} frames/s", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _rich_bar(total: int | None) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    bar = Bar(*columns, console=Console(stderr=True))
    return bar, bar.add_task("restyling", total=total, rate="")
