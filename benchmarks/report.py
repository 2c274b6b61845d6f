"""Writes docs/performance.md: ``python -m benchmarks.report``.

Measures all cases as ``benchmarks.compare`` does, draws bars against the peers and a roofline of every layer, and says
for each goal that is missed which steps take the time and how far they are from the machine's bound.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import edgeinfer
from benchmarks import memory
from benchmarks.cases import CASES, Case, model_path, random_feeds
from benchmarks.compare import OURS, Row, add_arguments, chosen_cases, measure_all, table
from benchmarks.machine import Machine, measure_machine
from benchmarks.scaling import measure_scaling, scaling_table
from edgeinfer.plan.plan import NativeStep, Plan
from edgeinfer.plan.step import HostStep

DOCS = Path(__file__).resolve().parents[1] / "docs"
PROFILES = 9
STEPS_SHOWN = 3


@dataclass(frozen=True)
class StepFigure:
    """One step of a model.

    Attributes:
        node: its node, or nodes.
        op: their operator.
        kernel: the kernel.
        milliseconds: how long it takes.
        gflops: GFLOP/s of a direct computation, 0 for steps without multiply-adds.
        intensity: operations of a direct computation for each byte that must be moved.
    """

    node: str
    op: str
    kernel: str
    milliseconds: float
    gflops: float
    intensity: float

    def bound(self, machine: Machine) -> float:
        """GFLOP/s that a direct computation can reach with its data in main memory."""
        return min(machine.peak, self.intensity * machine.memory) / 1e9


def profile(case: Case, folder: Path) -> list[StepFigure]:
    """Every step of a case with one thread, medians of several runs."""
    with edgeinfer.Session(edgeinfer.convert(model_path(case, folder)), threads=1) as session:
        plan = session.plan(case.shapes)
        runs = [session.profile(random_feeds(case)) for _ in range(PROFILES)]
    figures = []
    for planned, steps in zip(plan.steps, zip(*runs, strict=True), strict=True):
        seconds = float(np.median([step.seconds for step in steps]))
        step, operations = steps[0], 2 * steps[0].macs
        rate, intensity = operations / seconds / 1e9, operations / moved_bytes(planned, plan)
        figures.append(StepFigure(step.node, step.op, step.kernel or "host", seconds * 1e3, rate, intensity))
    return figures


def moved_bytes(step: NativeStep | HostStep, plan: Plan) -> int:
    """Bytes that a step must read and write at least: each of its tensors once, weights too."""
    named = step if isinstance(step, HostStep) else step.call
    parts: dict[str, int] = {}
    for name in {*named.reads, *named.writes} & plan.tensors.keys():
        tensor = plan.tensors[name]
        parts[tensor.owner] = parts.get(tensor.owner, 0) + tensor.nbytes
    # Strips read the rows at their borders twice, which a cache may keep.
    return sum(min(size, plan.tensors[owner].nbytes) for owner, size in parts.items())


def draw_bars(rows: Sequence[Row], path: Path) -> None:
    """Our time and the peers', relative to the best peer's, with one thread."""
    chosen = [row for row in rows if row.threads == min(row.threads for row in rows)]
    names = sorted({name for row in chosen for name in row.timings}, key=lambda name: (name != OURS, name))
    figure, axes = plt.subplots(figsize=(10, 0.55 * len(chosen) + 1.5))
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        lengths = [
            row.timings[name].median / row.timings[row.best_peer].median if name in row.timings else 0.0
            for row in chosen
        ]
        places = np.arange(len(chosen)) + index * height
        axes.barh(places, np.minimum(lengths, 4), height, label=name)
    axes.set_yticks(np.arange(len(chosen)) + 0.4 - height / 2, [row.case for row in chosen])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("time, best peer = 1 (bars end at 4)")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def draw_roofline(steps: Sequence[StepFigure], machine: Machine, path: Path) -> None:
    """GFLOP/s of every step with multiply-adds over its intensity, below the machine's bounds.

    Williams, Waterman, Patterson, "Roofline: An Insightful Visual Performance Model", 2009.
    """
    figure, axes = plt.subplots(figsize=(10, 5.5))
    counted = [step for step in steps if step.gflops]
    for op in sorted({step.op for step in counted}):
        chosen = [step for step in counted if step.op == op]
        axes.scatter([step.intensity for step in chosen], [step.gflops for step in chosen], s=14, label=op)
    least, most = min(step.intensity for step in counted) / 1.5, max(step.intensity for step in counted) * 1.5
    intensities = np.geomspace(least, most, 200)
    for name, bandwidth, style in (("main memory", machine.memory, "-"), ("second-level cache", machine.cache, "--")):
        bound = np.minimum(intensities * bandwidth, machine.peak) / 1e9
        label = f"{name}: {bandwidth / 1e9:.0f} GB/s"
        axes.plot(intensities, bound, color="black", linewidth=1, linestyle=style, label=label)
    axes.text(least, machine.peak / 1e9 * 1.08, f"{machine.peak / 1e9:.0f} GFLOP/s of multiply-adds", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations for each byte of a step's tensors and weights")
    axes.set_ylabel("GFLOP/s of a direct computation, one thread")
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def missed_goals(rows: Sequence[Row], steps: dict[str, list[StepFigure]], machine: Machine) -> str:
    """For each goal missed with one thread: the steps that take most of the time, and their share of the bound."""
    peak = machine.peak / 1e9
    lines = []
    for row in rows:
        if row.threads != 1 or row.ratio <= row.goal:
            continue
        total = sum(step.milliseconds for step in steps[row.case])
        lines.append(f"\n**{row.case}**: {row.ratio:.2f} instead of {row.goal:g} of {row.best_peer}'s time.\n")
        lines += ["| step | kernel | ms | share of the run | share of its bound |", "| --- | --- | --- | --- | --- |"]
        for step in sorted(steps[row.case], key=lambda step: -step.milliseconds)[:STEPS_SHOWN]:
            share = f"{step.gflops / step.bound(machine):.0%}" if step.gflops else "no multiply-adds"
            lines.append(
                f"| {step.node} | {step.kernel} | {step.milliseconds:.3f} | {step.milliseconds / total:.0%} | {share} |"
            )
        floor = sum(step.gflops * step.milliseconds for step in steps[row.case]) / peak
        lines.append(f"\nAll multiply-adds at the peak take {floor:.2f} ms, the run {total:.2f} ms.")
    return "\n".join(lines) or "None."


def main() -> None:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser, seconds=3.0)
    arguments = parser.parse_args()
    cases = chosen_cases(arguments.models)
    machine = measure_machine(1)
    rows = measure_all(cases, [int(count) for count in arguments.threads.split(",")], arguments.seconds)
    scaling = measure_scaling(cases, arguments.seconds)
    with tempfile.TemporaryDirectory() as folder:
        steps = {case.label: profile(case, Path(folder)) for case in CASES if case in cases}
    images = DOCS / "images"
    draw_bars(rows, images / "performance-peers.svg")
    draw_roofline([step for found in steps.values() for step in found], machine, images / "performance-roofline.svg")
    (DOCS / "performance.md").write_text(
        f"""# Performance

Written by `make report` on {machine.name}, CPU level `{machine.level}`: one core does
{machine.peak / 1e9:.0f} GFLOP/s of multiply-adds on registers; copying, it reads and writes {machine.memory / 1e9:.0f}
GB/s in main memory and {machine.cache / 1e9:.0f} in the second-level cache.
Median milliseconds, float32; runtimes take turns with the same inputs and threads, a pause and an uncounted run before
each turn, and every output is compared with ONNX Runtime's (*difference*, relative to its range). *Ratio* is our time
by the best peer's. `make bench` measures the same without writing this page; `edgeinfer bench FILE --profile` shows the
steps of one model.

{table(rows)}

![Times against the peers](images/performance-peers.svg)

## Two threads

Sessions with one and with two threads took turns (`python -m benchmarks.scaling`).

{scaling_table(scaling)}

## Steps against the machine

![GFLOP/s of every step](images/performance-roofline.svg)

Each dot is a step of one of the models with one thread. Its bound is the line above it: what memory lets through for
so many operations a byte (each tensor and weight of the step counts once), or the peak. Steps whose tensors the step
before left in a cache may lie above main memory's line; Winograd convolutions need fewer multiply-adds than are counted
here, and may lie above the peak; convolutions run strip by strip are one step.

## Goals missed with one thread

{missed_goals(rows, steps, machine)}

{memory.section(memory.measure_all())}"""
    )


if __name__ == "__main__":
    main()
