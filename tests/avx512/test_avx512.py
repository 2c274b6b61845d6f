"""The short form of ``make test-avx512``: some kernels of floats, bfloat16 and bytes, of the levels above AVX2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.avx512.avx512 import missing
from tests.avx512.stand_ins import with_stand_ins

SCRIPT = Path(__file__).with_name("avx512.py")
CALL = "  %1 = call <16 x i32> @llvm.x86.avx512.{name}.512(<16 x i32> %s, <64 x i8> %x, <64 x i8> %w)\n"
MODULE = CALL + "declare <16 x i32> @llvm.x86.avx512.{name}.512(<16 x i32>, <64 x i8>, <64 x i8>)\n"


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_kernels_of_avx512_with_stand_ins():
    chosen = (
        "(37x3x3x3 and not QConv) or direct_products or (vnni and not avxvnni and QConv and 2x4x6x)"
        " or (avx512 and Tanh) or (14x14x32x40 and u8)"
    )
    rounded_factors = "test_direct_products_are_those_of_rounded_factors[(9, 14, 32, 48, 1)-{}-Relu-2]"
    conv = "test_kernel_equals_reference[Conv(1x5x37x3;37x3x3x3;37)pads=[1, 1, 1, 1],group=1-avx512]"
    names = [
        "vector_math.py",
        "quantized_kernels.py",
        f"bfloat16_conv.py::{rounded_factors}",
        "amx_conv.py",
        f"kernels_against_references.py::{conv}",
    ]
    tests = [f"tests/kernels/test_{name}" for name in names]
    command = [sys.executable, SCRIPT, "-k", chosen, *tests]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    passed = int(done.stdout.split(" passed")[0].split()[-1])
    assert passed > 5
    assert "skipped" not in done.stdout


def test_calls_of_intrinsics_become_calls_of_stand_ins():
    text = with_stand_ins(MODULE.format(name="vpdpbusd"))
    assert "llvm.x86" not in text
    assert "call <16 x i32> @stand_in.x86.avx512.vpdpbusd.512(" in text
    assert text.count("define internal <16 x i32> @stand_in.x86.avx512.vpdpbusd.512(<16 x i32> %c, <64 x i8> %a") == 1


def test_an_intrinsic_without_a_stand_in_is_refused():
    with pytest.raises(KeyError, match=r"avx512\.vpdpwssd"):
        with_stand_ins(MODULE.format(name="vpdpwssd"))
