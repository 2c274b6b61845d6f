"""Measuring which of several kernels is the quickest for each node on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeinfer.errors import KernelError
from edgeinfer.graph import Graph
from edgeinfer.plan.step import StripsStep
from edgeinfer.plan.strips import CHAINS, WHOLE
from edgeinfer.runtime.session import Session
from edgeinfer.runtime.tuning import write_choices
from edgeinfer.tools.bench import random_inputs
from edgeinfer.tools.inspect import default_shapes

PROFILES = 15
TURNS = 25
# A kernel must be quicker by this share of the planner's to take its place, and all together by that of a run.
_BETTER_NODE = 0.95
_BETTER_RUN = 0.99

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Attributes:
        nodes: number of nodes with several kernels.
        choices: the kernels that were quicker than the planner's, by node, and whether chains of nodes are better run
            node by node; empty if that made runs no quicker.
        before_ms: median time of a run as planned.
        after_ms: median time with the choices found.
        path: the file that was written.
    """

    nodes: int
    choices: dict[str, str]
    before_ms: float
    after_ms: float
    path: Path


def tune(graph: Graph, shapes: Mapping[str, tuple[int, ...]], threads: int | str, precision: str = "float32") -> Tuned:
    """Measure the kernels of every node, keep what makes whole runs quicker, and store it in the user's cache.

    Args:
        graph: the model.
        shapes: input shapes; those left out are chosen.
        threads: number of threads or ``"auto"``.
        precision: number format, see ``Session``.

    Raises:
        KernelError: if the cache cannot be written.
    """
    with Session(graph, threads, precision=precision, choices={}) as session:
        wanted = default_shapes(session.inputs, shapes)
        feeds = random_inputs(session.inputs, wanted)
        plan = session.plan(wanted)
        candidates = plan.candidates
        path = session.tuning_file(wanted)
    several = {node: kernels for node, kernels in candidates.items() if len(kernels) > 1}
    has_chains = any(isinstance(step.call, StripsStep) for step in plan.native_steps())
    best: dict[str, tuple[float, str]] = {}
    planned: dict[str, float] = {}
    for index in range(max(map(len, several.values()), default=0)):
        # The first candidate is the planner's own.
        choices = {node: kernels[index] for node, kernels in several.items() if index < len(kernels)}
        seconds = _node_seconds(graph, feeds, threads, precision, {**choices, CHAINS: WHOLE})
        for node, kernel in choices.items():
            if index == 0:
                planned[node] = seconds[node]
                best[node] = (_BETTER_NODE * seconds[node], kernel)
            elif seconds[node] < best[node][0]:
                best[node] = (seconds[node], kernel)
    choices = {node: kernel for node, (_, kernel) in best.items() if kernel != several[node][0]}
    tried = [choices, {**choices, CHAINS: WHOLE}] if has_chains else [choices]
    before, *afters = _in_turn(graph, feeds, threads, precision, [{}, *tried])
    after, choices = min(zip(afters, tried, strict=True), key=lambda pair: pair[0])
    if not choices or after > _BETTER_RUN * before:
        choices, after = {}, before
    try:
        write_choices(path, choices)
    except OSError as error:
        raise KernelError(f"cannot write {path}: {error.strerror or error}; set EDGEINFER_CACHE to a folder") from error
    return Tuned(len(several), choices, before * 1e3, after * 1e3, path)


def _node_seconds(
    graph: Graph, feeds: Feeds, threads: int | str, precision: str, choices: Mapping[str, str]
) -> dict[str, float]:
    """Median time of each node with given kernels."""
    with Session(graph, threads, precision=precision, choices=choices) as session:
        session.run(feeds)
        runs = [session.profile(feeds) for _ in range(PROFILES)]
    seconds: dict[str, float] = {}
    for steps in zip(*runs, strict=True):
        median = float(np.median([step.seconds for step in steps]))
        seconds[steps[0].node] = seconds.get(steps[0].node, 0.0) + median
    return seconds


def _in_turn(
    graph: Graph, feeds: Feeds, threads: int | str, precision: str, several: Sequence[Mapping[str, str]]
) -> list[float]:
    """Median times of runs with each of several choices, in turn."""
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(Session(graph, threads, precision=precision, choices=choices)) for choices in several
        ]
        times: list[list[float]] = [[] for _ in sessions]
        for turn in range(TURNS + 1):
            for session, kept in zip(sessions, times, strict=True):
                session.run(feeds)
                start = time.perf_counter()
                session.run(feeds)
                if turn:
                    kept.append(time.perf_counter() - start)
    return [float(np.median(kept)) for kept in times]
