"""A proof that a plan never lets two live tensors share bytes."""

from __future__ import annotations

import numpy as np

from edgeinfer.abi import ALIGNMENT, ARENA
from edgeinfer.errors import PlanError
from edgeinfer.plan.lifetimes import tensor_lifetimes
from edgeinfer.plan.plan import NativeStep, Plan


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
        if tensor.base == ARENA and (tensor.offset != owner.offset or tensor.nbytes > owner.nbytes):
            raise PlanError(f"tensor '{name}' does not lie within '{tensor.owner}', whose memory it shares")
