"""The process that compiles kernels, with stand-ins: ``python -m tests.avx512.build LEVEL FOLDER [KERNEL …]``."""

from __future__ import annotations

import sys

from edgeinfer.codegen import build, compiler
from edgeinfer.simd.foreign_intrinsics import with_intrinsics
from edgeinfer.simd.levels import LEVELS
from tests.avx512.stand_ins import STOOD_IN_FOR, stand_in, with_stand_ins

if __name__ == "__main__":
    LEVELS.update({name: stand_in(LEVELS[name]) for name in STOOD_IN_FOR})
    compiler.with_intrinsics = lambda text: with_stand_ins(with_intrinsics(text))
    sys.exit(build.main(sys.argv[1:]))
