"""Kernel packs: built for every target, loaded without a compiler, refused where they do not fit."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.cli import main
from edgeinfer.codegen import pack as packs
from edgeinfer.codegen.bundle_module import loaded_bytes
from edgeinfer.codegen.linker import find_linker, link_shared
from edgeinfer.codegen.targets import TARGETS, find_target, systems_of, target_of_level
from edgeinfer.codegen.wheels import PLATFORMS
from edgeinfer.errors import KernelError
from edgeinfer.runtime import kernel_loader
from edgeinfer.runtime.cpu import cpu_level
from edgeinfer.runtime.pack import PackLibrary, find_pack

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "multistyle26" / "multistyle26.edge"
HOST = target_of_level(cpu_level()).name
# Each takes milliseconds to import, and a plain run needs none.
SLOW_TO_IMPORT = {"numba", "llvmlite", "dataclasses", "fractions", "importlib.util", "pathlib"}


@pytest.fixture
def copy(pack, tmp_path, monkeypatch) -> Path:
    """A copy of the pack, where the loader looks first."""
    folder = tmp_path / "packs"
    shutil.copytree(pack, folder)
    monkeypatch.setenv("EDGEINFER_PACKS", str(folder))
    return folder


def test_pack_is_small_and_holds_every_kernel(pack):
    manifest = json.loads((pack / f"edgeinfer-{HOST}.json").read_text())
    assert (pack / f"edgeinfer-{HOST}.so").stat().st_size < 700_000
    library = PackLibrary(pack / f"edgeinfer-{HOST}.json")
    names = [row["name"] for row in manifest["kernels"]]
    assert len(names) > 20
    assert all(address > 0 for address in library.load(names).values())


def test_pack_names_no_library_and_no_version_of_a_symbol(pack):
    content = (pack / f"edgeinfer-{HOST}.so").read_bytes()
    assert b"GLIBC" not in content
    assert b"libc.so" not in content


def test_same_inputs_give_the_same_bytes(monkeypatch, tmp_path):
    some = packs.list_kernels(find_target(HOST))[::16]
    monkeypatch.setattr(packs, "list_kernels", lambda target: some)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        assert main(["pack", "--target", HOST, "-o", str(folder)]) == 0
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1] == [f"edgeinfer-{HOST}.json", f"edgeinfer-{HOST}.so"]
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_model_runs_from_a_pack_without_compiler_cache_and_home(copy, tmp_path):
    program = (
        "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None\n"
        "import numpy as np\n"
        "known = set(sys.modules)\n"
        "import edgeinfer\n"
        f"with edgeinfer.load({str(MODEL)!r}) as session:\n"
        "    y = session(np.ones((1, 3, 32, 32), np.float32), np.eye(26, dtype=np.float32)[3])\n"
        f"print(float(y.mean()), sorted({SLOW_TO_IMPORT} & (set(sys.modules) - known)))"
    )
    environment = {"PYTHONPATH": str(ROOT), "EDGEINFER_PACKS": str(copy), "PATH": "", "HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True, cwd="/"
    )
    mean, modules = done.stdout.split(" ", 1)
    assert 0 < float(mean) < 1
    assert modules.strip() == "[]"
    assert done.stderr == ""


def test_results_from_pack_and_cache_are_equal(copy, monkeypatch):
    from edgeinfer.format import read_edge
    from edgeinfer.runtime.session import Session

    x, style = np.random.default_rng(0).random((1, 3, 36, 40), np.float32), np.eye(26, dtype=np.float32)[7]
    with Session(read_edge(MODEL), threads=2, kernels=PackLibrary(copy / f"edgeinfer-{HOST}.json")) as session:
        from_pack = session(x, style)
    monkeypatch.setenv("EDGEINFER_PACKS", "")
    with Session(read_edge(MODEL), threads=2) as session:
        np.testing.assert_array_equal(session(x, style), from_pack)


def test_pack_of_another_version_is_refused(copy):
    path = copy / f"edgeinfer-{HOST}.json"
    path.write_text(path.read_text().replace('"version":"', '"version":"9.'))
    with pytest.raises(KernelError, match=r"built for edgeinfer 9\..* build it again"):
        PackLibrary(path)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:500] + b"!" + data[501:]]
)
def test_damaged_pack_is_refused(copy, damage):
    library = copy / f"edgeinfer-{HOST}.so"
    data = library.read_bytes()
    library.unlink()
    library.write_bytes(damage(data))
    with pytest.raises(KernelError, match="damaged"):
        PackLibrary(library.with_suffix(".json"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}'])
def test_damaged_manifest_is_refused(copy, text):
    path = copy / f"edgeinfer-{HOST}.json"
    path.write_text(text)
    with pytest.raises(KernelError, match=r"kernel pack .* (build it again|built for)"):
        PackLibrary(path)


def test_pack_for_another_cpu_is_not_loaded(copy, monkeypatch):
    path = copy / f"edgeinfer-{HOST}.json"
    path.write_text(path.read_text().replace(f'"level":"{cpu_level()}"', '"level":"other"'))
    assert find_pack(cpu_level()) is None
    assert find_pack("other") == str(path)


def test_without_a_compiler_a_pack_for_a_lower_level_is_used(monkeypatch):
    monkeypatch.delenv("EDGEINFER_LEVEL", raising=False)
    monkeypatch.setattr(importlib.machinery.PathFinder, "find_spec", lambda name: None)
    monkeypatch.setattr(kernel_loader, "available_levels", lambda: ["best", "lower", "lowest"])
    monkeypatch.setattr(kernel_loader, "cpu_level", lambda: "best")
    monkeypatch.setattr(kernel_loader, "find_pack", lambda level: Path(level) if level != "best" else None)
    monkeypatch.setattr(kernel_loader, "kernels_for", lambda level: level)
    assert kernel_loader.host_kernels() == "lower"


def test_unknown_target_lists_the_known_ones(capsys, tmp_path):
    assert main(["pack", "--target", "z80", "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in ("z80", *TARGETS))


def test_missing_linker_says_what_to_install(monkeypatch, capsys, tmp_path):
    find_linker.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["pack", "--target", "aarch64", "-o", str(tmp_path)]) == 2
    assert "install lld, aarch64-linux-gnu-binutils, or pip install ziglang" in capsys.readouterr().err
    find_linker.cache_clear()


def test_unwritable_folder_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["pack", "--target", HOST, "-o", str(tmp_path / "file" / "packs")]) == 2
    assert f"cannot make the folder {tmp_path / 'file' / 'packs'}" in capsys.readouterr().err


def test_targets_are_listed(capsys, copy):
    assert main(["targets", "--json"]) == 0
    rows = {row["target"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == TARGETS.keys()
    assert rows[HOST]["runs_here"]
    assert rows[HOST]["pack"] == str(copy / f"edgeinfer-{HOST}.json")
    assert not any(
        row["runs_here"] for row in rows.values() if find_target(row["target"]).level.architecture != platform.machine()
    )
    linux = ["linux-gnu", "linux-musl"]
    assert rows["x86-64-v3"]["systems"] == [*linux, "android", "macos"]
    assert rows["aarch64+dotprod"]["systems"] == [*linux, "android", "macos"]
    assert rows["armv7+neon"]["systems"] == [*linux, "android"]
    assert rows["riscv64+v"]["systems"] == linux
    assert rows["wasm32+simd128"]["systems"] == ["wasm"]
    assert main(["targets"]) == 0
    shown = capsys.readouterr().out
    assert "AVX2" in shown
    assert "in use" in shown


def compiled(target: str, kernel: str) -> bytes:
    """The object file of a kernel, compiled by a process of its own."""
    environment = {**os.environ, "NUMBA_OPT": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "edgeinfer.codegen.pack_worker", "compile", target, kernel]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    printed, code = done.stdout.split()
    assert printed == kernel
    return bytes.fromhex(code)


# Each has instructions that the machine which compiles may lack.
FOREIGN = [
    ("x86-64-v4+bf16", "bf16_conv__8x32_bf16"),
    ("x86-64-v4+vnni", "qu8_dwconv__4x16_vnni"),
    ("x86-64-v4", "qu8_conv__1x64_avx512"),
    ("x86-64-v4", "qu8_pointwise__14x16_avx512"),
    ("x86-64-v3+vnni", "qu8_conv__6x16_avxvnni"),
    ("aarch64+i8mm", "qu8_conv__8x8_i8mm"),
]


@pytest.mark.parametrize(("target", "kernel"), FOREIGN)
def test_kernels_with_foreign_instructions_compile(target, kernel):
    assert compiled(target, kernel)[:4] == b"\x7fELF"


def test_winograd_of_avx512_is_no_longer_than_that_of_avx2():
    assert loaded_bytes(compiled("x86-64-v4", "f32_winograd4x4__8x32_avx512")) < 30_000


@pytest.mark.parametrize("name", ["armv7+neon", "armv7+neon-android"])
def test_armv7_kernels_need_no_library_of_a_compiler(name):
    for kernel in ("x32_copy__neon32", "f32_merge_statistics__neon32"):
        library = link_shared([compiled(name, kernel)], find_target(name))
        assert b"__aeabi_" not in library


def test_wheels_are_for_both_c_libraries():
    assert PLATFORMS.keys() == {"x86_64", "aarch64", "armv7l"}
    for architecture, tags in PLATFORMS.items():
        assert any(target.level.architecture == architecture for target in TARGETS.values())
        systems = {tag.removesuffix(f"_{architecture}").split("_")[0] for tag in tags.split(".")}
        assert systems == {"manylinux", "manylinux2014", "musllinux"}


SYSTEMS = [f"{name}-{system}" for name in TARGETS for system in systems_of(TARGETS[name].level.architecture)]


def test_every_target_has_each_of_its_systems():
    for name in SYSTEMS:
        target = find_target(name)
        assert target.system in name
        assert target.triple


@pytest.mark.parametrize(
    "name", [*TARGETS, "aarch64-macos", "x86-64-v3-macos", "aarch64-android", "armv7+neon-android"]
)
def test_every_target_compiles_a_kernel(name):
    target = find_target(name)
    content = compiled(name, f"f32_unary__{target.level.name}")
    if target.system == "macos":
        assert content[:4] == b"\xcf\xfa\xed\xfe"
        return
    if target.system == "wasm":
        assert content[:4] == b"\0asm"
        return
    elf_machine = {"x86_64": 62, "aarch64": 183, "armv7l": 40, "riscv64": 243}[target.level.architecture]
    assert content[:4] == b"\x7fELF"
    assert int.from_bytes(content[18:20], "little") == elf_machine


def test_targets_without_libraries_have_no_packs(capsys, tmp_path):
    assert main(["pack", "--target", "wasm32+simd128", "-o", str(tmp_path)]) == 2
    assert "edgeinfer export" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
