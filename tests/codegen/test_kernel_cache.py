"""The kernel cache: compiled once, found again without Numba, never an error where it cannot be written."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer.codegen import cache
from edgeinfer.codegen.cache import KernelLibrary, kernel_folder
from edgeinfer.errors import KernelError
from edgeinfer.files import cache_root
from edgeinfer.runtime.cpu import cpu_level

ROOT = Path(__file__).resolve().parents[2]


def test_second_process_neither_compiles_nor_imports_numba(tmp_path):
    program = (
        "import sys; from edgeinfer.codegen.cache import KernelLibrary; from edgeinfer.runtime.cpu import cpu_level;"
        "library = KernelLibrary(cpu_level()); library.entry('run_tape');"
        "print(sorted(name for name in ('numba', 'llvmlite') if name in sys.modules))"
    )
    environment = {**os.environ, "EDGEINFER_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def run():
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
        )

    first, second = run(), run()
    assert "compiling kernels" in first.stderr
    assert "compiling" not in second.stderr
    assert first.stdout.strip() == second.stdout.strip() == "[]"


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEINFER_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("EDGEINFER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "edgeinfer"


def test_unwritable_cache_falls_back_to_a_temporary_folder(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("EDGEINFER_CACHE", str(blocked))
    folder = kernel_folder("avx2")
    assert folder.is_dir()
    assert blocked not in folder.parents


def test_no_kernels_and_no_compiler_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEINFER_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KernelError, match=r"pip install 'edgeinfer\[jit\]'"):
        KernelLibrary(cpu_level())


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: b"", lambda data: b"x" + data[1:]])
def test_damaged_library_is_compiled_again(monkeypatch, tmp_path, damage):
    monkeypatch.setenv("EDGEINFER_CACHE", str(tmp_path))
    library = KernelLibrary(cpu_level())
    name = f"run_tape__{library.level}"
    library.load([name])
    (compiled,) = library.folder.glob(f"{name}-*.so")
    whole = compiled.read_bytes()
    compiled.unlink()
    compiled.write_bytes(damage(whole))
    compiled_names = []
    again = KernelLibrary(cpu_level(), progress=lambda done, total, shown: compiled_names.append(shown))
    assert again.load([name])[name] > 0
    assert compiled_names[-1] == name
    assert compiled.read_bytes() == whole


def test_damaged_manifest_names_the_folder_to_delete(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEINFER_CACHE", str(tmp_path))
    folder = KernelLibrary(cpu_level()).folder
    cache.manifest_path(folder).write_text("{")
    with pytest.raises(KernelError, match=str(folder)):
        KernelLibrary(cpu_level())


def test_objects_load_without_a_linker(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEINFER_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", sys.executable)
    library = KernelLibrary(cpu_level())
    address = library.load([f"run_tape__{library.level}"])
    assert all(value > 0 for value in address.values())
    assert not list(library.folder.glob("*.so"))
    assert list(library.folder.glob("*.o"))


def test_editing_one_kernel_module_keeps_the_others():
    assert cache.module_hash("edgeinfer.kernels.conv") != cache.module_hash("edgeinfer.kernels.tape")


def test_kernels_that_vanish_are_an_error_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEINFER_CACHE", str(tmp_path))
    library = KernelLibrary(cpu_level())
    monkeypatch.setattr(library, "_compile", lambda names: None)
    with pytest.raises(KernelError, match="run_tape.*start again"):
        library.entry("run_tape")
