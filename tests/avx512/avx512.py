"""The tests at the levels above AVX2, on processors without these: ``python tests/avx512/avx512.py [TESTS …]``.

Their kernels are compiled for AVX2 instead, see ``stand_ins.py``, into a cache of their own under ``build/avx512``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from edgeinfer.runtime.cpu import cpu_flags, cpuinfo

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
TESTS = ["tests/kernels", "tests/plan", "tests/models"]
NEEDED = {"avx2", "fma", "f16c"}


def missing() -> str:
    """Why these tests cannot run here, else nothing."""
    if platform.machine() != "x86_64":
        return "stand-ins are for x86-64"
    lacking = NEEDED - cpu_flags(cpuinfo())
    return f"this processor lacks {', '.join(sorted(lacking))}" if lacking else ""


def main() -> int:
    """Run pytest with the plugin; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", dest="expression", default="", help="as pytest's: only tests whose names match")
    parser.add_argument("tests", nargs="*", default=TESTS, help=f"default: {' '.join(TESTS)}")
    arguments = parser.parse_args()
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    # Kernels are kept by a hash of edgeinfer's own files; stand-ins are none of these. A pack would have none.
    own = (FOLDER / "stand_ins.py").read_bytes() + (FOLDER / "amx.ll").read_bytes()
    digest = hashlib.sha256(own).hexdigest()[:12]
    environment = {**os.environ, "EDGEINFER_CACHE": str(ROOT / "build" / "avx512" / digest), "EDGEINFER_PACKS": ""}
    environment.pop("EDGEINFER_LEVEL", None)
    pytest = ["-m", "pytest", "-q", "-p", "tests.avx512.plugin", "-p", "no:cacheprovider", "-k", arguments.expression]
    command = [sys.executable, *pytest, *arguments.tests]
    return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
