"""Processes that compile kernels, apart from the one that asks for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def start_compiler(module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a module of this edgeinfer with its outputs piped; paths among the arguments have to be absolute.

    Args:
        module: its name, such as ``edgeinfer.codegen.build``.
        arguments: of its command line.
    """
    # Numba must hand out its IR unoptimised; LLVM optimises it for the target afterwards.
    environment = {**os.environ, "NUMBA_OPT": "0", "NUMBA_DISABLE_JIT": "0"}
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # Python looks for modules in its working folder first, where another edgeinfer may lie.
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=_ROOT,
    )  # fmt: skip
