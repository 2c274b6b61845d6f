"""The short form of ``make test-arm``: kernels of bytes and of float16 on one arm64 processor, at one level."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("arm64.py")


def _missing() -> str:
    spec = importlib.util.spec_from_file_location("arm64", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    missing = module.missing_programs()
    return f"apt-get install {' '.join(missing)}" if missing else ""


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
