"""The short form of ``make test-arm``: kernels of bytes and of float16 on one arm64 processor, at one level."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).with_name("arm64.py")


# What a device does not have.
WITHOUT_COMPILER = """
import sys, pytest
sys.modules.update(numba=None, llvmlite=None)
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("arm64", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _missing() -> str:
    missing = _script().missing_programs()
    return f"apt-get install {' '.join(missing)}" if missing else ""


def test_tests_for_devices_need_no_compiler():
    command = [sys.executable, "-c", WITHOUT_COMPILER, *_script().TESTS]
    done = subprocess.run(command, cwd=SCRIPT.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.skipif(bool(_missing()), reason=_missing())
@pytest.mark.skipif(os.getuid() != 0, reason="apt works for root only")
def test_kernels_on_an_arm64_processor():
    tests = [f"tests/kernels/test_{name}.py" for name in ("quantized_kernels", "float16_kernels")]
    command = [
        sys.executable,
        SCRIPT,
        "--cpu",
        "cortex-a76",
        "--target",
        "aarch64+dotprod",
        "-k",
        "dotprod or (float16 and Conv)",
        *tests,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    passed = int(done.stdout.split(" passed")[0].split()[-1])
    assert passed > 450
    assert "skipped" not in done.stdout
