"""Timing one model: load, plan, first run, then many."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import edgeinfer
from edgeinfer.errors import InputError
from edgeinfer.plan.lifetimes import tensor_lifetimes
from edgeinfer.plan.plan import NativeStep, Plan
from edgeinfer.plan.step import HostStep, Step
from edgeinfer.runtime.executor import StepTime
from edgeinfer.runtime.port import Port
from edgeinfer.runtime.session import Session
from edgeinfer.tools.inspect import default_shapes
from edgeinfer.tools.machine_peak import peak_macs_per_second


def random_inputs(ports: Sequence[Port], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Uniform random inputs, always the same: 0..1 for floats, 0 or 1 for integers."""
    generator = np.random.default_rng(0)
    feeds = {}
    for port in ports:
        dtype, shape = port.dtype.numpy, shapes[port.name]
        if dtype.kind == "f":
            feeds[port.name] = generator.random(shape).astype(dtype)
        else:
            feeds[port.name] = generator.integers(0, 2, shape).astype(dtype)
    return feeds


def bench(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    threads: int | str,
    runs: int,
    profile: bool,
    precision: str = "float32",
) -> dict[str, Any]:
    """Measure a model; times are in milliseconds, as plain JSON values.

    Args:
        path: the model's file.
        shapes: input shapes; those left out are chosen.
        threads: number of threads or ``"auto"``.
        runs: timed runs after the first.
        profile: also measure every step by itself, the median of several runs; the figures then hold ``steps``,
            ``arena`` (where each tensor lies, and from which step to which) and ``peak_gmac_per_s``.
        precision: number format, see ``Session``.
    """
    start = time.perf_counter()
    session = edgeinfer.load(path, threads, precision)
    loaded = time.perf_counter()
    if not isinstance(session, Session):
        raise InputError(f"{path} is a bundle, which has no steps to show: bench the .edge file that it was made of")
    with session:
        chosen = default_shapes(session.inputs, shapes)
        feeds = random_inputs(session.inputs, chosen)
        planning = time.perf_counter()
        plan = session.plan(chosen)
        planned = time.perf_counter()
        session.run(feeds)
        first = time.perf_counter()
        times = []
        for _ in range(runs):
            before = time.perf_counter()
            session.run(feeds)
            times.append(time.perf_counter() - before)
        steps = _profile(session, feeds, plan) if profile else None
        threads = session.threads
    peak = peak_macs_per_second(threads, precision) / 1e9 if profile else None
    median = float(np.median(times))
    return {
        "model": str(path),
        "shapes": {name: list(shape) for name, shape in chosen.items()},
        "threads": threads,
        "level": plan.level,
        "load_ms": (loaded - start) * 1e3,
        "plan_ms": (planned - planning) * 1e3,
        "first_ms": (first - planned) * 1e3,
        "median_ms": median * 1e3,
        "p95_ms": float(np.percentile(times, 95)) * 1e3,
        "min_ms": min(times) * 1e3,
        "gmac_per_s": plan.macs / median / 1e9,
        "macs": plan.macs,
        "arena_bytes": plan.arena_bytes,
        "activation_bytes": plan.activation_bytes,
        "lower_bound_bytes": plan.lower_bound,
        "weight_bytes": int(plan.weights.data.nbytes),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "host_steps": len(plan.host_steps()),
        "peak_gmac_per_s": peak,
        "steps": steps,
        "arena": _arena(plan) if profile else None,
    }


def _arena(plan: Plan) -> list[dict[str, Any]]:
    """Place and life of every tensor that owns memory in the arena."""
    lives = tensor_lifetimes([_named(step) for step in plan.steps], lambda name: plan.tensors[name].owner)
    return [
        {
            "tensor": name,
            "offset": tensor.offset,
            "bytes": tensor.nbytes,
            "first": lives[name][0],
            "last": lives[name][1],
        }
        for name, tensor in plan.arena_tensors().items()
        if name in lives
    ]


def _named(step: NativeStep | HostStep) -> Step:
    return step.call if isinstance(step, NativeStep) else step


def _step_bytes(plan: Plan, step: Step) -> int:
    """Bytes of all tensors that a step reads or writes."""
    return sum(plan.tensors[name].nbytes for name in {*step.reads, *step.writes} if name in plan.tensors)


def _profile(session: Session, feeds: Mapping[str, np.ndarray], plan: Plan) -> list[dict[str, Any]]:
    runs: list[list[StepTime]] = [session.profile(feeds) for _ in range(5)]
    steps = []
    for planned, same in zip(plan.steps, zip(*runs, strict=True), strict=True):
        seconds = float(np.median([step.seconds for step in same]))
        step = same[0]
        steps.append(
            {
                "node": step.node,
                "op": step.op,
                "kernel": step.kernel,
                "ms": seconds * 1e3,
                "gmac_per_s": step.macs / seconds / 1e9,
                "bytes": _step_bytes(plan, _named(planned)),
                "reason": step.reason,
            }
        )
    return steps
