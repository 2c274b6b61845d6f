"""How many threads, which CPU level, where workers run."""

from __future__ import annotations

import os

import pytest

from edgeinfer.errors import KernelError, PlanError
from edgeinfer.runtime import cpu
from edgeinfer.runtime.placement import WorkerPlacement
from edgeinfer.runtime.threads import cpu_quota, resolve_threads


def test_quota_of_control_groups(tmp_path):
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5


def test_quota_of_version_1(tmp_path):
    folder = tmp_path / "cpu"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text("-1")
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path) is None
    (folder / "cpu.cfs_quota_us").write_text("50000")
    assert cpu_quota(tmp_path) == 0.5


def test_automatic_number_respects_affinity_quota_and_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert resolve_threads("auto", tmp_path) == 6
    (tmp_path / "cpu.max").write_text("350000 100000\n")
    assert resolve_threads("auto", tmp_path) == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert resolve_threads("auto", tmp_path) == 3
    assert resolve_threads(5, tmp_path) == 5


@pytest.mark.parametrize("threads", [0, -1, 257, 1.5, True, "two"])
def test_impossible_number_is_refused(threads):
    with pytest.raises(PlanError, match="from 1 to 256"):
        resolve_threads(threads)


def test_level_can_be_lowered_by_the_environment(monkeypatch):
    for level in cpu.available_levels():
        monkeypatch.setenv("EDGEINFER_LEVEL", level)
        assert cpu.cpu_level() == level
    monkeypatch.setenv("EDGEINFER_LEVEL", "avx9000")
    with pytest.raises(KernelError, match="avx9000: this machine can run"):
        cpu.cpu_level()


def test_level_without_any_known_features_is_refused(monkeypatch):
    monkeypatch.delenv("EDGEINFER_LEVEL", raising=False)
    monkeypatch.setattr(cpu, "cpuinfo", str)
    with pytest.raises(KernelError, match=r"SSE4\.2"):
        cpu.cpu_level()


OLD = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
NEW = f"{OLD} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


def arm_cpuinfo(features: str, *cores: str) -> str:
    """The text of /proc/cpuinfo on Linux for 64-bit Arm; cores are ``implementer part``."""
    texts = []
    for index, core in enumerate(cores):
        implementer, part = core.split()
        texts.append(
            f"processor\t: {index}\nBogoMIPS\t: 38.40\nFeatures\t: {features}\nCPU implementer\t: {implementer}\n"
            f"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 4\n\n"
        )
    return "".join(texts)


A53, A72, A55, A76 = "0x41 0xd03", "0x41 0xd08", "0x41 0xd05", "0x41 0xd0b"


@pytest.mark.parametrize(
    ("features", "cores", "levels"),
    [
        (OLD, [A53] * 4, ["neon_in_order", "neon"]),
        (OLD, ["0x41 0xd02"], ["neon_in_order", "neon"]),
        (OLD, ["0x41 0xd04"], ["neon_in_order", "neon"]),
        (OLD, [A72] * 4, ["neon", "neon_in_order"]),
        (OLD, [A53, A53, A72, A72], ["neon_in_order", "neon"]),
        (OLD, [A72, A53], ["neon_in_order", "neon"]),
        (OLD, ["0x51 0x801", "0x51 0x800"], ["neon_in_order", "neon"]),
        (OLD, ["0x42 0xd03"], ["neon", "neon_in_order"]),
        (NEW, [A55, A55, A76], ["dotprod", "neon", "neon_in_order"]),
        (f"{NEW} i8mm bf16", ["0x41 0xd40"], ["i8mm", "dotprod", "neon", "neon_in_order"]),
        ("half thumb", [A53], []),
    ],
)
def test_levels_of_arm_cores(features, cores, levels):
    assert cpu.levels_of("aarch64", arm_cpuinfo(features, *cores)) == levels


@pytest.mark.parametrize("core", [A53, A72])
def test_both_levels_of_the_first_armv8_can_be_chosen_on_every_core(core, monkeypatch):
    monkeypatch.setattr(cpu, "cpuinfo", lambda: arm_cpuinfo(OLD, core))
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    monkeypatch.delenv("EDGEINFER_LEVEL", raising=False)
    assert cpu.cpu_level() == ("neon_in_order" if core == A53 else "neon")
    for level in ("neon", "neon_in_order"):
        monkeypatch.setenv("EDGEINFER_LEVEL", level)
        assert cpu.cpu_level() == level
    monkeypatch.setenv("EDGEINFER_LEVEL", "dotprod")
    with pytest.raises(KernelError, match="dotprod: this machine can run"):
        cpu.cpu_level()


AVX2 = "sse4_1 sse4_2 ssse3 popcnt avx2 fma f16c bmi1 bmi2 movbe"
BF16 = f"{AVX2} avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni avx512_bf16"


@pytest.mark.parametrize(
    ("architecture", "text", "levels"),
    [
        (
            "x86_64", f"flags : {BF16} amx_bf16 amx_tile amx_int8",
            ["amx", "bf16", "vnni", "avx512", "avx2", "v128"],
        ),
        ("x86_64", f"flags : {BF16} amx_tile", ["bf16", "vnni", "avx512", "avx2", "v128"]),
        ("x86_64", "flags\t\t: fpu sse4_1 sse4_2 ssse3 popcnt avx2 fma f16c bmi1 bmi2 movbe\n", ["avx2", "v128"]),
        ("armv7l", "Features\t: half thumb fastmult vfp edsp neon vfpv3\n", ["neon32"]),
        ("riscv64", "isa\t\t: rv64imafdcv_zicsr_zifencei\n", ["rvv"]),
        ("x86_64", "", []),
        ("mips", "flags\t: avx2\n", []),
    ],
)  # fmt: skip
def test_levels_of_other_processors(architecture, text, levels):
    assert cpu.levels_of(architecture, text) == levels


def test_workers_are_kept_off_the_processor_of_their_caller(monkeypatch):
    placed = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, processors: placed.append((thread, processors)))
    placement = WorkerPlacement([11, 12])
    placement._processor = lambda: 1
    placement.update()
    placement.update()
    assert placed == [(11, {0, 2}), (12, {0, 2})]


def test_more_workers_than_processors_are_not_placed(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("placed"))
    placement = WorkerPlacement([11, 12])
    placement.update()
    assert placement._processor is None
