"""``python -m edgeinfer.codegen.wheels -o dist``: wheels that carry kernel packs, one for each architecture.

Packs need nothing but memcpy, memset, memmove and syscall of the C library, so one wheel serves glibc and musl.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgeinfer.codegen.pack import Pack, build_pack
from edgeinfer.codegen.targets import TARGETS
from edgeinfer.errors import KernelError

# The platform tags of each architecture's wheel.
PLATFORMS = {
    architecture: ".".join(
        f"{system}_{architecture}" for system in ("manylinux_2_17", "manylinux2014", "musllinux_1_1")
    )
    for architecture in ("x86_64", "aarch64", "armv7l")
}

_ROOT = Path(__file__).resolve().parents[2]


def build_wheel(architecture: str, folder: Path) -> None:
    """Build the packs of all levels of an architecture, each on that of the level below, and a wheel with them.

    Raises:
        KernelError: if a pack or the wheel cannot be built.
    """
    with tempfile.TemporaryDirectory(prefix="edgeinfer-packs-") as packs:
        built: dict[str, Pack] = {}
        # The best levels come first in the list, and lean on others.
        for target in reversed(TARGETS.values()):
            level = target.level
            if level.architecture == architecture:
                print(f"compiling kernels for {target.name}", flush=True)
                start = time.perf_counter()
                pack = build_pack(target, Path(packs), lambda done, total, name: None, built.get(level.base))
                built[level.name] = pack
                size, seconds = pack.library.stat().st_size, time.perf_counter() - start
                print(f"  {size / 1e3:.0f} kB, {seconds:.0f} s", flush=True)
        environment = {
            **os.environ,
            "EDGEINFER_WHEEL_PACKS": packs,
            "EDGEINFER_WHEEL_PLATFORM": PLATFORMS[architecture],
        }
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(_ROOT)]
        if subprocess.run(command, env=environment, check=False).returncode:
            raise KernelError(f"building the wheel for {architecture} failed")


def main() -> int:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("dist"), help="folder for the wheels")
    parser.add_argument("--architecture", choices=list(PLATFORMS), action="append", help="default: all")
    arguments = parser.parse_args()
    for architecture in arguments.architecture or PLATFORMS:
        try:
            build_wheel(architecture, arguments.output)
        except KernelError as error:
            print(f"wheels: {error}", file=sys.stderr)
            return 2
    for wheel in sorted(arguments.output.glob("edgeinfer-*.whl")):
        print(f"{wheel}: {wheel.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
