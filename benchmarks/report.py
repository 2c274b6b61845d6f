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

DOCS = Path(__file__).resolve().parents[1] / "docs"
PROFILES = 9
STEPS_SHOWN = 3


@dataclass(frozen=True)
class StepFigure:
    """One step of a model: its node, operator, kernel, milliseconds, GFLOP/s of a direct computation."""

    node: str
    op: str
    kernel: str
    milliseconds: float
    gflops: float


def profile(case: Case, folder: Path) -> list[StepFigure]:
    """Every step of a case with one thread, medians of several runs."""
    with edgeinfer.Session(edgeinfer.convert(model_path(case, folder)), threads=1) as session:
        runs = [session.profile(random_feeds(case)) for _ in range(PROFILES)]
    figures = []
    for steps in zip(*runs, strict=True):
        seconds = float(np.median([step.seconds for step in steps]))
        step = steps[0]
        gflops = 2 * step.macs / seconds / 1e9
        figures.append(StepFigure(step.node, step.op, step.kernel or "host", seconds * 1e3, gflops))
    return figures


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
    """GFLOP/s of every step with multiply-adds over its time, beside the machine's peak."""
    figure, axes = plt.subplots(figsize=(10, 5))
    for op in sorted({step.op for step in steps if step.gflops}):
        chosen = [step for step in steps if step.op == op and step.gflops]
        axes.scatter([step.milliseconds for step in chosen], [step.gflops for step in chosen], s=14, label=op)
    axes.axhline(machine.peak / 1e9, color="black", linewidth=1)
    axes.text(axes.get_xlim()[1] / 50, machine.peak / 1e9 * 1.05, "peak of multiply-adds", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("milliseconds of a step, one thread")
    axes.set_ylabel("GFLOP/s of a direct computation (Winograd lies above the peak)")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def missed_goals(rows: Sequence[Row], steps: dict[str, list[StepFigure]], machine: Machine) -> str:
    """For each goal missed with one thread: the steps that take most of the time, and their share of the peak."""
    peak = machine.peak / 1e9
    lines = []
    for row in rows:
        if row.threads != 1 or row.ratio <= row.goal:
            continue
        total = sum(step.milliseconds for step in steps[row.case])
        lines.append(f"\n**{row.case}**: {row.ratio:.2f} instead of {row.goal:g} of {row.best_peer}'s time.\n")
        lines += ["| step | kernel | ms | share of the run | share of the peak |", "| --- | --- | --- | --- | --- |"]
        for step in sorted(steps[row.case], key=lambda step: -step.milliseconds)[:STEPS_SHOWN]:
            share = f"{step.gflops / peak:.0%}" if step.gflops else "no multiply-adds"
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
{machine.peak / 1e9:.0f} GFLOP/s of multiply-adds on registers and copies {machine.memory / 1e9:.0f} GB/s.
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

Each dot is a step of one of the models. Winograd convolutions need fewer multiply-adds than are counted here, so they
may lie above the peak.

## Goals missed with one thread

{missed_goals(rows, steps, machine)}

{memory.section(memory.measure_all())}"""
    )


if __name__ == "__main__":
    main()
