"""A plugin of pytest: this machine has the levels above AVX2 alone, and kernels are compiled with stand-ins."""

from __future__ import annotations

import subprocess

from edgeinfer.codegen import cache
from edgeinfer.codegen.compiler_process import start_compiler
from edgeinfer.runtime import cpu
from tests.avx512.stand_ins import STOOD_IN_FOR


def _start(module: str, *arguments: str) -> subprocess.Popen[str]:
    return start_compiler("tests.avx512.build" if module == "edgeinfer.codegen.build" else module, *arguments)


cpu._NEEDED["x86_64"] = {level: set() for level in STOOD_IN_FOR}
cpu.tile_registers_allowed = lambda: True
cache.start_compiler = _start
