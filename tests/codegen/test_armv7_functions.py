"""The functions that Armv7 kernels bring along, run on this machine: what they compute depends on no processor."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

import edgeinfer

TEXT = (Path(edgeinfer.__file__).parent / "codegen" / "armv7_functions.ll").read_text()
LIMIT = 1 << 63


class Quotient(ctypes.Structure):
    _fields_ = (("quotient", ctypes.c_int64), ("rest", ctypes.c_int64))


@pytest.fixture(scope="module")
def engine():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # Names of their own, so that the loader does not take this machine's.
    text = TEXT.replace("arm_aapcscc ", "").replace("@__aeabi_", "@test_").replace("@roundevenf", "@test_roundevenf")
    text = text.replace("@floorf", "@test_floorf").replace("@ceilf", "@test_ceilf")
    machine = llvm.Target.from_default_triple().create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)


def function(engine, name: str, result, *arguments):
    return ctypes.CFUNCTYPE(result, *arguments)(engine.get_function_address(f"test_{name}"))


def numbers() -> list[int]:
    chance = random.Random(0)
    edges = [0, 1, 2, 3, 7, 255, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, LIMIT - 1]
    positive = edges + [chance.getrandbits(bits) for bits in range(1, 64) for _ in range(3)]
    return [*positive, *(-value for value in positive if value), -LIMIT]


def test_division_truncates(engine):
    divide = function(engine, "ldivmod", Quotient, ctypes.c_int64, ctypes.c_int64)
    for numerator in numbers():
        for divisor in numbers():
            if divisor == 0 or (numerator, divisor) == (-LIMIT, -1):
                continue
            quotient = abs(numerator) // abs(divisor) * (1 if (numerator < 0) == (divisor < 0) else -1)
            result = divide(numerator, divisor)
            assert (result.quotient, result.rest) == (quotient, numerator - quotient * divisor)


def test_integers_become_floats(engine):
    convert = function(engine, "l2f", ctypes.c_float, ctypes.c_int64)
    for number in numbers():
        if abs(number) < 1 << 53:
            assert convert(number) == np.float32(number)
        else:
            assert convert(number) == pytest.approx(number, rel=2**-23)


def test_integers_become_doubles(engine):
    convert = function(engine, "l2d", ctypes.c_double, ctypes.c_int64)
    assert [convert(number) for number in numbers()] == [float(number) for number in numbers()]


@pytest.mark.parametrize(("name", "reference"), [("roundevenf", np.rint), ("floorf", np.floor), ("ceilf", np.ceil)])
def test_rounding(engine, name, reference):
    compute = function(engine, name, ctypes.c_float, ctypes.c_float)
    values = np.concatenate([np.arange(-20, 20, 0.25), [1e-30, -1e-30, 8388607.5, 8388609, 3e38, -0.0, np.inf]])
    for value in values.astype(np.float32):
        result, wanted = compute(value), reference(value)
        assert result == wanted and np.signbit(result) == np.signbit(wanted)
