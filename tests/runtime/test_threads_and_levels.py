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
    monkeypatch.setattr(cpu, "cpu_flags", frozenset)
    with pytest.raises(KernelError, match=r"SSE4\.2"):
        cpu.cpu_level()


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
