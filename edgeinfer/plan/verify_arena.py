"""A proof that a plan never lets two live tensors share bytes."""

from __future__ import annotations

import itertools

import numpy as np

from edgeinfer.abi import ALIGNMENT, ARENA
from edgeinfer.errors import PlanError
from edgeinfer.plan.lifetimes import tensor_lifetimes
from edgeinfer.plan.plan import NativeStep, Plan
from edgeinfer.plan.step import StripsStep


def verify_arena(plan: Plan) -> None:
    """Check every pair of tensors in the arena against the steps of the plan.

    Two tensors may share bytes only if one is not needed any more when the other is first written, or
    if they meet in one step that declares to compute the second in place of the first.

    Raises:
        PlanError: naming the two tensors, or the tensor that is misplaced.
    """
    steps = [step.call if isinstance(step, NativeStep) else step for step in plan.steps]
    lifetimes = tensor_lifetimes(steps, lambda name: plan.tensors[name].owner)
    in_place = {
        (index, plan.tensors[source].owner, plan.tensors[target].owner)
        for index, step in enumerate(plan.steps)
        if isinstance(step, NativeStep)
        for source, target in step.call.in_place
    }
    for native in plan.native_steps():
        if isinstance(native.call, StripsStep):
            _verify_strips(native.call, plan)
    names = [name for name in plan.arena_tensors() if name in lifetimes]
    if not names:
        return
    start = np.array([plan.tensors[name].offset for name in names])
    end = start + np.array([plan.tensors[name].nbytes for name in names])
    first, last = np.array([lifetimes[name] for name in names]).T
    for index, name in enumerate(names):
        if start[index] % ALIGNMENT:
            raise PlanError(f"tensor '{name}' starts at {start[index]}, not on a multiple of {ALIGNMENT}")
        if end[index] > plan.activation_bytes:
            raise PlanError(f"tensor '{name}' ends at {end[index]}, beyond the arena's {plan.activation_bytes} bytes")
    shares = (start[:, None] < end[None, :]) & (start[None, :] < end[:, None])
    meets = (first[:, None] <= last[None, :]) & (first[None, :] <= last[:, None])
    for one, other in zip(*np.nonzero(np.triu(shares & meets, 1)), strict=True):
        source, target = (one, other) if first[one] <= first[other] else (other, one)
        step = int(last[source])
        if step != first[target] or (step, names[source], names[target]) not in in_place:
            raise PlanError(
                f"tensors '{names[one]}' and '{names[other]}' share bytes of the arena and are both needed "
                f"at step {max(first[one], first[other])}"
            )
    for name, tensor in plan.tensors.items():
        owner = plan.tensors[tensor.owner]
        start_in_owner = tensor.offset - owner.offset
        if tensor.base == ARENA and not 0 <= start_in_owner <= owner.nbytes - tensor.nbytes:
            raise PlanError(f"tensor '{name}' does not lie within '{tensor.owner}', whose memory it shares")


def _verify_strips(step: StripsStep, plan: Plan) -> None:
    """Check that strips write each byte of their picture once, and that what they hand on shares no bytes."""
    (written,) = step.writes
    owner = plan.tensors[plan.tensors[written].owner]
    parts = sorted(
        (plan.tensors[name].offset, plan.tensors[name].nbytes)
        for strip in step.strips for call in strip for name in call.writes if name not in step.local
    )  # fmt: skip
    end = owner.offset
    for offset, size in parts:
        if offset != end:
            raise PlanError(f"strips of '{written}' overlap or leave out bytes at {min(offset, end)}")
        end += size
    if end != owner.offset + owner.nbytes:
        raise PlanError(f"strips of '{written}' end at {end}, not with its {owner.nbytes} bytes")
    for strip in step.strips:
        local = {name for call in strip for name in (*call.reads, *call.writes) if name in step.local}
        places = sorted((step.local[name], plan.tensors[name].nbytes, name) for name in local)
        for (start, size, name), (after, _, other) in itertools.pairwise(places):
            if start + size > after:
                raise PlanError(f"tensors '{name}' and '{other}' of one strip share bytes")
        if places and sum(places[-1][:2]) > step.local_bytes:
            raise PlanError(f"tensor '{places[-1][2]}' ends beyond the memory of a strip")
