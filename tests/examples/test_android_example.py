"""The native methods of the Android example: run by the Java of this machine, and built for aarch64."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.cli import main

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "multistyle26" / "multistyle26.edge"
EXAMPLE = ROOT / "examples" / "android"
JAVAC = shutil.which("javac")
INCLUDE = Path(JAVAC).resolve().parents[1] / "include" if JAVAC else Path("/nonexistent")

pytestmark = pytest.mark.skipif(not (INCLUDE / "jni.h").exists(), reason="no Java development kit with jni.h")

PROGRAM = """
import java.nio.FloatBuffer;
import org.edgeinfer.restyle.StyleModel;

public class Try {
    public static void main(String[] arguments) {
        FloatBuffer image = StyleModel.buffer(3 * 256 * 256), result = StyleModel.buffer(3 * 256 * 256);
        FloatBuffer weights = StyleModel.buffer(26);
        weights.put(19, 1);
        for (int index = 0; index < image.capacity(); index++) image.put(index, index % 256 / 256f);
        StyleModel model = new StyleModel(2);
        model.run(image, weights, result);
        double sum = 0;
        for (int index = 0; index < result.capacity(); index++) sum += result.get(index);
        System.out.printf("%.6f%n", sum / result.capacity());
        try { model.run(weights, weights, result); } catch (IllegalStateException e) { print(e); }
        model.close();
        model.close();
        try { model.run(image, weights, result); } catch (IllegalStateException e) { print(e); }
        try { new StyleModel(0); } catch (IllegalStateException e) { print(e); }
    }

    private static void print(Exception problem) {
        System.out.println(problem.getMessage());
    }
}
"""


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_java_class_restyles_a_picture(style_bundle, tmp_path):
    run("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}", f"-I{INCLUDE / 'linux'}",
        f"-I{style_bundle}", EXAMPLE / "style_model.c", style_bundle / "multistyle26.o", "-pthread",
        "-o", tmp_path / "libstyle_model.so")  # fmt: skip
    (tmp_path / "Try.java").write_text(PROGRAM)
    sources = [*(EXAMPLE / "java").rglob("*.java"), tmp_path / "Try.java"]
    run("javac", "-Xlint:all", "-Werror", "-d", tmp_path, *sources)
    said = run("java", f"-Djava.library.path={tmp_path}", "-cp", tmp_path, "Try").splitlines()
    image = (np.arange(3 * 256 * 256) % 256 / np.float32(256)).astype(np.float32).reshape(1, 3, 256, 256)
    with edgeinfer.load(MODEL, threads=2) as session:
        mean = session(image, np.eye(26, dtype=np.float32)[19]).mean(dtype=np.float64)
    assert said == [
        f"{mean:.6f}",
        "run: an array is missing",
        "run: an array is missing",
        "open: no such number of threads",
    ]


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="aarch64-linux-gnu-gcc is not installed")
def test_library_for_android_needs_only_its_c_library(tmp_path):
    folder = tmp_path / "bundle"
    arguments = ["--target", "aarch64-android", "--shape", "image=1x3x64x48", "-o", str(folder)]
    assert main(["export", str(MODEL), *arguments]) == 0
    library = tmp_path / "libstyle_model.so"
    # No NDK is needed to see that everything compiles and links: what Android's C library gives is left undefined.
    run("aarch64-linux-gnu-gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-nostdlib",
        f"-I{INCLUDE}", f"-I{INCLUDE / 'linux'}", f"-I{folder}", "-Wl,-z,max-page-size=16384",
        EXAMPLE / "style_model.c", folder / "multistyle26.o", "-o", library)  # fmt: skip
    symbols = run("aarch64-linux-gnu-nm", "-D", library).splitlines()
    wanted = {line.split()[-1] for line in symbols if " U " in line}
    assert wanted <= {
        "calloc", "free", "malloc", "memcpy", "memmove", "memset", "pthread_create", "pthread_join", "snprintf",
        "syscall",
    }  # fmt: skip
    exported = {line.split()[-1] for line in symbols if " T " in line}
    assert {f"Java_org_edgeinfer_restyle_StyleModel_{verb}" for verb in ("open", "run", "close")} <= exported
