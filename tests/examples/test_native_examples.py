"""The examples in C and C++, built and run on this machine, and for other CPUs under QEMU."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "multistyle26" / "multistyle26.edge"
EXAMPLES = ROOT / "examples"
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test where programs are not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_ppm(path: Path, height: int, width: int) -> np.ndarray:
    """A smooth picture with a comment in its header; returns it as the model's input."""
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([rows * 255 // height, columns * 255 // width, (rows ^ columns) & 255], -1).astype(np.uint8)
    path.write_bytes(b"P6 # made by a test\n%d %d\n255\n" % (width, height) + picture.tobytes())
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255


def read_ppm(path: Path, height: int, width: int) -> np.ndarray:
    header = b"P6\n%d %d\n255\n" % (width, height)
    content = path.read_bytes()
    assert content.startswith(header)
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(height, width, 3)


def restyled(image: np.ndarray, style: int, threads: int) -> np.ndarray:
    """What a session makes of the picture, as bytes."""
    with edgeinfer.load(MODEL, threads=threads) as session:
        result = session(image, np.eye(26, dtype=np.float32)[style])[0]
    return np.floor(np.clip(result, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8).transpose(1, 2, 0)


@needs("gcc")
@pytest.mark.parametrize("threads", [1, 2])
def test_c_program_restyles_a_picture(style_bundle, tmp_path, threads):
    program = tmp_path / "restyle"
    source = EXAMPLES / "c" / "restyle.c"
    run("gcc", "-std=c99", "-O2", *STRICT, f"-I{style_bundle}", source, style_bundle / "multistyle26.o", "-pthread",
        "-o", program)  # fmt: skip
    image = write_ppm(tmp_path / "in.ppm", 256, 256)
    run(program, tmp_path / "in.ppm", tmp_path / "out.ppm", 7, threads)
    np.testing.assert_array_equal(read_ppm(tmp_path / "out.ppm", 256, 256), restyled(image, 7, 2))


@needs("cmake", "gcc")
def test_c_program_tells_what_is_wrong(style_bundle, tmp_path):
    run("cmake", "-S", EXAMPLES / "c", "-B", tmp_path / "build", f"-DBUNDLE={style_bundle}")
    run("cmake", "--build", tmp_path / "build")
    write_ppm(tmp_path / "small.ppm", 16, 16)
    (tmp_path / "text.ppm").write_text("hello")
    write_ppm(tmp_path / "cut.ppm", 256, 256)
    (tmp_path / "cut.ppm").write_bytes((tmp_path / "cut.ppm").read_bytes()[:-9])
    for picture, style, threads, problem in (
        ("small.ppm", 0, 1, "another size"),
        ("text.ppm", 0, 1, "no binary PPM"),
        ("cut.ppm", 0, 1, "cut short"),
        ("none.ppm", 0, 1, "cannot be opened"),
        ("cut.ppm", 26, 1, "is no style"),
    ):
        command = [tmp_path / "build" / "restyle", tmp_path / picture, tmp_path / "out.ppm", str(style), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert problem in done.stderr
    write_ppm(tmp_path / "good.ppm", 256, 256)
    command = [tmp_path / "build" / "restyle", tmp_path / "good.ppm", tmp_path / "out.ppm", "0", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "restyle: 0 is no number of threads\n")


@pytest.mark.parametrize(
    ("target", "compiler", "emulator"),
    [
        pytest.param(target, compiler, emulator, marks=needs(compiler, emulator.split()[0]))
        for target, compiler, emulator in (
            ("aarch64", "aarch64-linux-gnu-gcc", "qemu-aarch64 -cpu cortex-a53"),
            ("armv7+neon", "arm-linux-gnueabihf-gcc", "qemu-arm"),
            ("riscv64+v", "riscv64-linux-gnu-gcc", "qemu-riscv64 -cpu rv64,v=true,vlen=128"),
        )
    ],
)
def test_static_c_program_for_another_cpu_restyles_a_picture(tmp_path, target, compiler, emulator):
    shape, folder, program = "image=1x3x64x48", tmp_path / "bundle", tmp_path / "restyle"
    assert main(["export", str(MODEL), "--target", target, "--shape", shape, "-o", str(folder)]) == 0
    source = EXAMPLES / "c" / "restyle.c"
    run(compiler, "-static", "-std=c99", "-O2", *STRICT, f"-I{folder}", source, folder / "multistyle26.o", "-pthread",
        "-o", program)  # fmt: skip
    image = write_ppm(tmp_path / "in.ppm", 64, 48)
    run(*emulator.split(), program, tmp_path / "in.ppm", tmp_path / "out.ppm", 7, 2)
    difference = read_ppm(tmp_path / "out.ppm", 64, 48).astype(int) - restyled(image, 7, 2)
    assert np.abs(difference).max() <= 1


@needs("cmake", "g++")
def test_cpp_class_runs_a_model(style_bundle, tmp_path):
    run("cmake", "-S", EXAMPLES / "cpp", "-B", tmp_path / "build", f"-DBUNDLE={style_bundle}",
        f"-DCMAKE_CXX_FLAGS={' '.join(STRICT)}")  # fmt: skip
    run("cmake", "--build", tmp_path / "build")
    said = run(tmp_path / "build" / "describe", 2).splitlines()
    with edgeinfer.load(MODEL, threads=2) as session:
        image = np.full((1, 3, 256, 256), 0.5, np.float32)
        mean = session(image, np.eye(26, dtype=np.float32)[19]).mean(dtype=np.float64)
    assert said == [
        "input image: 1 3 256 256",
        "input style_weights: 26",
        "output stylized: 1 3 256 256",
        f"mean {mean:.6f}",
    ]
    done = subprocess.run([tmp_path / "build" / "describe", "0"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "describe: edgeinfer: init failed with status 3\n")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the bundle is not for x86-64")
@needs("gcc", "qemu-x86_64")
def test_old_cpu_is_refused_with_a_code(style_bundle, tmp_path):
    program = tmp_path / "restyle"
    run("gcc", "-O2", f"-I{style_bundle}", EXAMPLES / "c" / "restyle.c", style_bundle / "multistyle26.o", "-pthread",
        "-o", program)  # fmt: skip
    write_ppm(tmp_path / "in.ppm", 256, 256)
    command = ["qemu-x86_64", "-cpu", "core2duo", program, tmp_path / "in.ppm", tmp_path / "out.ppm", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "restyle: this CPU lacks instructions that the model was compiled for\n",
    )
