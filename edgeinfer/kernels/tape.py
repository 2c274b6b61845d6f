"""The tape runner: every worker runs the whole table of steps and meets the others after each.

These two entries have the kernels' signature, with the team's record as params.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from edgeinfer.abi import STEP, TEAM, WORKER, field_offset
from edgeinfer.kernels.registry import Simd, kernel_family
from edgeinfer.simd.calls import call_kernel
from edgeinfer.simd.pointers import address_of, as_i64, atomic_add, atomic_load, atomic_store, syscall_of

_STEP_WORDS = STEP.itemsize // 8
_FUTEX_WAIT_PRIVATE = 128
_FUTEX_WAKE_PRIVATE = 129
_EVERYONE = (1 << 31) - 1
# Numbers of the system call sched_yield on Linux.
_YIELD_CALL = {"x86_64": 24, "aarch64": 124, "riscv64": 124, "armv7l": 158}


_ARRIVED, _GENERATION = field_offset(TEAM, "arrived"), field_offset(TEAM, "generation")
_EPOCH, _SLEEPERS, _STOP = field_offset(TEAM, "epoch"), field_offset(TEAM, "sleepers"), field_offset(TEAM, "stop")
_STEPS, _FIRST, _LAST = field_offset(TEAM, "steps"), field_offset(TEAM, "first"), field_offset(TEAM, "last")
_INDEX, _TAKEN = field_offset(WORKER, "index"), field_offset(WORKER, "taken")
_WORKER_BYTES = WORKER.itemsize


@functools.cache
def _pause_of(architecture: str) -> Any:
    """``pause()``: tells an x86 processor that it is waiting; nothing elsewhere."""

    @intrinsic
    def pause(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            if architecture == "x86_64":
                function_type = ir.FunctionType(ir.VoidType(), [])
                builder.call(cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.sse2.pause"), [])
            return context.get_dummy_value()

        return types.void(), codegen

    return pause


@functools.cache
def _wait_of(simd: Simd) -> Callable[..., None]:
    pause, yield_call = _pause_of(simd.level.architecture), _YIELD_CALL.get(simd.level.architecture, 0)
    syscall = syscall_of(simd.level.pointer_bits)

    @njit(forceinline=True)
    def wait_for_change(team: Any, word: Any, old: Any, spins: Any, yields: Any, futex_call: Any) -> None:
        """Return when the word at ``team + word`` is no longer ``old``: spin a while, then let others run, then sleep.

        Whoever sleeps may be woken on the processor of the one that wakes it, and stay there.
        """
        flag = as_i64(team + word)
        for _ in range(spins):
            if atomic_load(flag) != old:
                return
            pause()
        for _ in range(yields if yield_call > 0 else 0):
            if atomic_load(flag) != old:
                return
            syscall(yield_call, 0, 0, 0, 0)
        atomic_add(as_i64(team + _SLEEPERS), 1)
        while atomic_load(flag) == old:
            syscall(futex_call, team + word, _FUTEX_WAIT_PRIVATE, old & 0xFFFFFFFF, 0)
        atomic_add(as_i64(team + _SLEEPERS), -1)

    return wait_for_change


@functools.cache
def _change_of(simd: Simd) -> Callable[..., None]:
    syscall = syscall_of(simd.level.pointer_bits)

    @njit(forceinline=True)
    def change(team: Any, word: Any, futex_call: Any) -> None:
        """Add one to the word at ``team + word`` and wake whoever sleeps on it."""
        atomic_add(as_i64(team + word), 1)
        if atomic_load(as_i64(team + _SLEEPERS)) > 0:
            syscall(futex_call, team + word, _FUTEX_WAKE_PRIVATE, _EVERYONE, 0)

    return change


@functools.cache
def _steps_of(simd: Simd) -> Callable[..., None]:
    """``run(team, worker, threads, spins, futex_call)``: all steps of the team's range, with a barrier after each."""
    wait_for_change, change = _wait_of(simd), _change_of(simd)

    @njit(forceinline=True)
    def barrier(team: Any, worker: Any, threads: Any, spins: Any, futex_call: Any) -> None:
        """Return when all workers are here; nothing is taken from any range any more."""
        if threads == 1:
            atomic_store(as_i64(worker + _TAKEN), 0)
            return
        generation = atomic_load(as_i64(team + _GENERATION))
        if atomic_add(as_i64(team + _ARRIVED), 1) == threads - 1:
            atomic_store(as_i64(team + _ARRIVED), 0)
            first = worker - as_i64(worker + _INDEX)[0] * _WORKER_BYTES
            for index in range(threads):
                atomic_store(as_i64(first + index * _WORKER_BYTES + _TAKEN), 0)
            change(team, _GENERATION, futex_call)
        else:
            # In the midst of a run nobody is late for long: a worker that was asleep for less than a millisecond.
            wait_for_change(team, _GENERATION, generation, spins, spins, futex_call)

    @njit(forceinline=True)
    def run(team: Any, worker: Any, threads: Any, spins: Any, futex_call: Any) -> None:
        steps = as_i64(as_i64(team + _STEPS)[0])
        first = as_i64(team + _FIRST)[0]
        last = as_i64(team + _LAST)[0]
        for index in range(first, last):
            call_kernel(steps[index * _STEP_WORDS], steps[index * _STEP_WORDS + 1], worker)
            barrier(team, worker, threads, spins, futex_call)

    return run


@kernel_family("run_tape", params=TEAM)
def run_tape(simd: Simd) -> Callable[..., None]:
    """Run steps ``first`` to ``last`` of the team's table with all workers; called by worker 0."""
    run_steps, change = _steps_of(simd), _change_of(simd)

    def body(team: Any, worker: Any) -> None:
        address = address_of(team)
        threads = team.threads
        futex_call = team.futex_call
        if threads > 1:
            change(address, _EPOCH, futex_call)
        run_steps(address, address_of(worker), threads, team.spins, futex_call)

    return body


@kernel_family("worker_loop", params=TEAM)
def worker_loop(simd: Simd) -> Callable[..., None]:
    """Run the team's table each time worker 0 asks for it, until the team is told to stop.

    A worker that starts late must not miss a call: ``worker.epoch`` is the team's epoch when it was made.
    """
    wait_for_change, run_steps = _wait_of(simd), _steps_of(simd)

    def body(team: Any, worker: Any) -> None:
        address = address_of(team)
        threads = team.threads
        futex_call = team.futex_call
        spins = team.spins
        seen = worker.epoch
        while True:
            wait_for_change(address, _EPOCH, seen, spins, 0, futex_call)
            seen += 1
            if atomic_load(as_i64(address + _STOP)) != 0:
                return
            run_steps(address, address_of(worker), threads, spins, futex_call)

    return body
