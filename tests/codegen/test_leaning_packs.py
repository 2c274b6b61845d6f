"""Packs of a wheel: what is the same at the level below is stored once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from edgeinfer.codegen import pack as packs
from edgeinfer.codegen.object_code import code_digest
from edgeinfer.codegen.pack import Pack, build_pack
from edgeinfer.codegen.targets import Target, find_target
from edgeinfer.errors import KernelError
from edgeinfer.runtime.pack import PackLibrary

LOWER, UPPER = find_target("x86-64-v3"), find_target("x86-64-v3+vnni")
# The first is the same at both levels; the second multiplies bytes by other instructions.
STEMS = ["x32_copy__", "qu8_conv_few_outputs__4x16_"]


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    """Object files by name of the kernel."""
    found = {}
    for target in (LOWER, UPPER):
        names = [f"{stem}{target.level.name}" for stem in STEMS]
        found.update(zip(names, packs.compile_all(target, names, lambda *progress: None), strict=True))
    return found


@pytest.fixture
def build(objects, monkeypatch, tmp_path):
    """Builds a pack of these two kernels."""

    def rows(target: Target) -> list[dict[str, object]]:
        names = (f"{stem}{target.level.name}" for stem in STEMS)
        return [{"name": name, "family": name.split("__")[0], "params": "", "traits": {}} for name in names]

    monkeypatch.setattr(packs, "list_kernels", rows)
    monkeypatch.setattr(packs, "compile_all", lambda target, names, progress: [objects[name] for name in names])
    return lambda target, base=None: build_pack(target, tmp_path, print, base)


def exported(path: Path) -> list[str]:
    done = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in done.stdout.splitlines()]


def test_digests_tell_code_apart_and_names_do_not_count(objects):
    digests = [[code_digest(objects[stem + level], level) for level in ("avx2", "avxvnni")] for stem in STEMS]
    assert digests[0][0] == digests[0][1]
    assert digests[1][0] != digests[1][1]
    assert digests[0][0] != digests[1][0]


def test_a_digest_holds_what_code_calls():
    (code,) = packs.compile_all(LOWER, ["worker_loop__avx2"], lambda *progress: None)
    assert b"syscall\0" in code
    assert code_digest(code.replace(b"syscall\0", b"memmove\0"), "avx2") != code_digest(code, "avx2")


def test_pack_holds_what_differs_and_finds_the_rest_in_its_base(build):
    lower = build(LOWER)
    upper = build(UPPER, lower)
    assert exported(lower.library) == ["qu8_conv_few_outputs__4x16_avx2", "x32_copy__avx2"]
    assert exported(upper.library) == ["qu8_conv_few_outputs__4x16_avxvnni"]
    assert [row["name"] for row in json.loads(upper.manifest.read_text())["kernels"]] == [
        "x32_copy__avxvnni",
        "qu8_conv_few_outputs__4x16_avxvnni",
    ]


def test_pack_without_a_base_holds_all(build):
    assert len(exported(build(UPPER).library)) == 2


def test_pack_for_cores_in_order_is_that_of_the_other_cores_but_for_loops_of_floats():
    stems = [
        "x32_copy__",
        "qu8_pointwise__4x16_",
        "f32_unary__",
        "f32_conv__4x16_",
        "f32_conv__8x8_",
    ]
    digests = []
    for target in map(find_target, ("aarch64", "aarch64+in-order")):
        names = [f"{stem}{target.level.name}" for stem in stems]
        codes = packs.compile_all(target, names, lambda *progress: None)
        digests.append([code_digest(code, target.level.name) for code in codes])
    same = [first == second for first, second in zip(*digests, strict=True)]
    assert same == [True, True, True, False, False]


def test_kernels_are_loaded_from_either_library(build):
    library = PackLibrary(build(UPPER, build(LOWER)).manifest)
    addresses = library.load(f"{stem}avxvnni" for stem in STEMS)
    assert len(set(addresses.values())) == 2
    assert all(addresses.values())
    with pytest.raises(KernelError, match="has no kernel x32_copy__avx2"):
        library.load(["x32_copy__avx2"])


def test_a_base_of_a_base_is_found(build, tmp_path):
    lower = build(LOWER)
    empty = Pack(LOWER, lower.library, lower.manifest, [{"level": "lowest", "library": "x.so", "sha256": ""}])
    bases = json.loads(build(UPPER, empty).manifest.read_text())["bases"]
    assert [base["level"] for base in bases] == ["avx2", "lowest"]


def test_missing_and_damaged_bases_are_refused(build):
    lower = build(LOWER)
    upper = build(UPPER, lower)
    content = lower.library.read_bytes()
    lower.library.unlink()
    with pytest.raises(KernelError, match=r"cannot load the kernel pack .*x86-64-v3\.so"):
        PackLibrary(upper.manifest)
    lower.library.write_bytes(content + b"x")
    with pytest.raises(KernelError, match="x86-64-v3.so is damaged"):
        PackLibrary(upper.manifest)
