"""Where worker threads run: never on the processor of the thread that calls them.

Linux often wakes a sleeping worker on its caller's processor and leaves both there for many milliseconds, so that
two workers take as long as one. Excluding that one processor leaves everything else to the scheduler.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Sequence


@functools.cache
def _processor_function() -> Callable[[], int] | None:
    """The C library's ``sched_getcpu``, None where there is none."""
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError, TypeError):
        return None


class WorkerPlacement:
    """Keeps threads off the caller's processor.

    Does nothing where the system cannot place threads, or where there are more workers than processors.

    Args:
        thread_ids: the system's numbers of the worker threads, the caller not among them.
    """

    def __init__(self, thread_ids: Sequence[int]) -> None:
        self._thread_ids = list(thread_ids)
        self._allowed = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
        self._processor = _processor_function()
        self._excluded = -1
        if len(self._thread_ids) >= len(self._allowed):
            self._processor = None

    def update(self) -> None:
        """To be called by the caller before it wakes the workers; cheap while it stays on its processor."""
        if self._processor is None:
            return
        here = self._processor()
        if here == self._excluded or here not in self._allowed:
            return
        self._excluded = here
        for thread_id in self._thread_ids:
            # A thread that has just ended, or a system that forbids it: placement only makes things quicker.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(thread_id, self._allowed - {here})
