"""Instructions of other processors in kernels that are compiled here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edgeinfer.simd.foreign_intrinsics import with_intrinsics

PROGRAM = """
import json
from edgeinfer.codegen.compiler import kernel_assembly
from edgeinfer.kernels.registry import kernel_sources
from edgeinfer.simd.levels import LEVELS
texts = {}
for level in ("neon", "dotprod", "i8mm"):
    source = kernel_sources(LEVELS[level])[f"qu8_conv__4x16_{level}"]
    texts[level] = kernel_assembly(source, LEVELS[level], "aarch64-unknown-linux-gnu").split()
print(json.dumps(texts))
"""


@pytest.fixture(scope="module")
def words() -> dict[str, list[str]]:
    """All words of the assembly of the convolution of bytes, by CPU level."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_OPT": "0"},
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("level", "instructions"), [("neon", ["smull", "smlal2", "sadalp"]), ("dotprod", ["sdot"]), ("i8mm", ["usmmla"])]
)
def test_arm_adds_products_of_bytes_by_its_own_instructions(words, level, instructions):
    # The loops over four quads, two and one, 16 sums a quad; matrices hold two quads and four sums.
    assert [words[level].count(instruction) for instruction in instructions] >= [64] * len(instructions)


def test_placeholders_become_declared_intrinsics():
    text = """define i32 @kernel(<4 x i32> %x) {
  %1 = call <4 x i32> @edgeinfer.intrinsic.aarch64.neon.sdot.v4i32.v16i8(<4 x i32> %x, <16 x i8> zeroinitializer)
  ret i32 0
}

define linkonce_odr <4 x i32> @edgeinfer.intrinsic.aarch64.neon.sdot.v4i32.v16i8(<4 x i32> %.1, <16 x i8> %.2) #1 {
.4:
  ret <4 x i32> zeroinitializer
}
"""
    found = with_intrinsics(text)
    assert "edgeinfer.intrinsic" not in found
    assert "call <4 x i32> @llvm.aarch64.neon.sdot.v4i32.v16i8(<4 x i32> %x" in found
    assert "declare <4 x i32> @llvm.aarch64.neon.sdot.v4i32.v16i8(<4 x i32>, <16 x i8>)\n" in found
    assert found.count("define") == 1
