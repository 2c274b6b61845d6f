"""Running a plan: its memory, its table of native steps, its host steps."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from edgeinfer.abi import FIRST_BINDING, STEP
from edgeinfer.errors import ShapeError
from edgeinfer.graph import Node
from edgeinfer.ops import evaluate_node
from edgeinfer.plan.memory import aligned_block
from edgeinfer.plan.plan import NativeStep, Plan
from edgeinfer.plan.step import HostStep
from edgeinfer.records import NamedTuple
from edgeinfer.runtime.kernel_loader import Kernels
from edgeinfer.runtime.workers import WorkerTeam

_EMPTY_CALLS = 10


class StepTime(NamedTuple):
    """How long one step took: the node, its operator, the kernel (None on the host), seconds, MACs, and why host."""

    node: str
    op: str
    kernel: str | None
    seconds: float
    macs: int
    reason: str = ""


class Executor:
    """A plan with its memory, ready to run; it holds one run's data, so runs must not overlap.

    Attributes:
        plan: the plan.
    """

    def __init__(self, plan: Plan, kernels: Kernels, team: WorkerTeam | None) -> None:
        self.plan = plan
        self._team = team
        self._arena = aligned_block(plan.arena_bytes)
        self._params, offsets = plan.params_block()
        addresses = kernels.load(plan.kernel_names())
        self._table = np.zeros(len(offsets), STEP)
        self._table["kernel"] = [addresses[step.call.kernel.name] for step in plan.table()]
        self._table["params"] = self._params.ctypes.data + np.array(offsets, np.int64)
        count = len(plan.inputs) + len(plan.outputs)
        self._bases = np.zeros(FIRST_BINDING + count, np.int64)
        self._places = self._table.ctypes.data, self._bases.ctypes.data, self._arena.ctypes.data
        self._stretches = self._cut(plan.steps)
        tensors = [plan.tensors[name] for name in plan.outputs]
        self._outputs = [(tensor.shape, tensor.type.dtype.numpy) for tensor in tensors]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the executor holds."""
        return self._arena.nbytes + self._params.nbytes + self._table.nbytes

    def new_outputs(self) -> list[np.ndarray]:
        """Uninitialised arrays for the outputs."""
        return [np.empty(shape, dtype) for shape, dtype in self._outputs]

    def _cut(self, steps: Sequence[NativeStep | HostStep]) -> list[tuple[int, int] | HostStep]:
        """Ranges of native steps, and the host steps between them."""
        stretches: list[tuple[int, int] | HostStep] = []
        first = native = 0
        for step in steps:
            if isinstance(step, NativeStep):
                native += 1
                continue
            if native > first:
                stretches.append((first, native))
            stretches.append(step)
            first = native
        if native > first:
            stretches.append((first, native))
        return stretches

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Compute ``outputs`` in place from ``inputs``: contiguous arrays in the plan's order."""
        self._bind(inputs, outputs)
        for stretch in self._stretches:
            if isinstance(stretch, HostStep):
                self._run_host(stretch, inputs, outputs)
            else:
                self._run_native(*stretch)

    def profile(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> list[StepTime]:
        """Run once with a clock around every step; with one worker, what the call takes is taken off."""
        self._bind(inputs, outputs)
        times, native = [], 0
        overhead = self._call_seconds()
        for step in self.plan.steps:
            start = time.perf_counter()
            if isinstance(step, HostStep):
                self._run_host(step, inputs, outputs)
                seconds = time.perf_counter() - start
                times.append(StepTime(step.node.name, step.node.op, None, seconds, 0, step.reason))
            else:
                self._run_native(native, native + 1)
                native += 1
                seconds = max(time.perf_counter() - start - overhead, 1e-9)
                call = step.call
                times.append(StepTime(call.node, call.op, call.kernel.name, seconds, call.macs))
        return times

    def _call_seconds(self) -> float:
        """Seconds of a call that runs no step, the least of several; 0 with several workers.

        A call without steps has no barrier: workers would still be waking up for it when the next one begins.
        """
        times = []
        alone = self._team is not None and self.plan.threads == 1
        for _ in range(_EMPTY_CALLS if alone else 0):
            start = time.perf_counter()
            self._run_native(0, 0)
            times.append(time.perf_counter() - start)
        return min(times, default=0.0)

    def _bind(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        arrays = (self.plan.weights.data, *inputs, *outputs)
        self._bases[:] = [self._places[-1], *[array.__array_interface__["data"][0] for array in arrays]]

    def _run_native(self, first: int, last: int) -> None:
        assert self._team is not None
        plan = self.plan
        table, bases, arena = self._places
        self._team.run(table, first, last, bases, arena + plan.activation_bytes, plan.scratch_bytes)

    def _run_host(self, step: HostStep, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        node = step.node
        arrays = [self._view(name, inputs, outputs) if name else None for name in node.inputs]
        outer = {name: self._view(name, inputs, outputs) for name in step.reads if name not in node.inputs}
        results = evaluate_node(node, arrays, outer)
        for name, result in zip(node.outputs, results, strict=False):
            if name:
                self._store(node, name, result, self._view(name, inputs, outputs))

    def _store(self, node: Node, name: str, result: np.ndarray, target: np.ndarray) -> None:
        if result.shape != target.shape:
            raise ShapeError(f"{node}: output '{name}' was planned as {target.shape} but came out as {result.shape}")
        np.copyto(target, result)

    def _view(self, name: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The tensor's bytes as an array, wherever the plan put it."""
        tensor = self.plan.tensors[name]
        if tensor.base >= FIRST_BINDING:
            block = (*inputs, *outputs)[tensor.base - FIRST_BINDING].reshape(-1).view(np.uint8)
        else:
            block = self._arena if tensor.base == 0 else self.plan.weights.data
        part = block[tensor.offset : tensor.offset + tensor.nbytes]
        return part.view(tensor.type.dtype.numpy).reshape(tensor.shape)
