"""How many threads to use: what the process may use, not what the machine has."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from edgeinfer.errors import PlanError

if TYPE_CHECKING:
    from pathlib import Path

CGROUP = "/sys/fs/cgroup"
MAX_THREADS = 256


def _read(root: str | Path, name: str) -> str:
    with open(os.path.join(root, name)) as file:
        return file.read()


def cpu_quota(root: str | Path = CGROUP) -> float | None:
    """Processors that the control group may keep busy (cgroup v2, then v1), None without a limit."""
    try:
        quota, period = _read(root, "cpu.max").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int(_read(root, "cpu/cpu.cfs_quota_us"))
        period_us = int(_read(root, "cpu/cpu.cfs_period_us"))
        return quota_us / period_us if quota_us > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def resolve_threads(threads: int | str = "auto", root: str | Path = CGROUP) -> int:
    """The number of workers.

    Args:
        threads: a number, or ``"auto"``: the least of the processors that the process may run on, the control
            group's quota (rounded up), and ``OMP_NUM_THREADS``.
        root: where control groups are mounted.

    Raises:
        PlanError: if the number is not between 1 and 256.
    """
    if threads != "auto":
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
            raise PlanError(f"threads must be 'auto' or a number from 1 to {MAX_THREADS}, got {threads!r}")
        return threads
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    if quota is not None:
        count = min(count, math.ceil(quota))
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wanted.isdigit() and int(wanted) > 0:
        count = min(count, int(wanted))
    return max(1, min(count, MAX_THREADS))
