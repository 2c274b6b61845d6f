"""From when to when each tensor is needed, and which tensors may share one buffer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from edgeinfer.plan.step import KernelStep, Step


class Buffer:
    """Memory for one tensor, or for several that follow each other in place.

    Attributes:
        tensors: the tensors; each after the first is computed in place of the one before it.
        size: bytes.
        first: index of the step that writes it first.
        last: index of the last step that needs it.
    """

    def __init__(self, tensors: list[str], size: int, first: int, last: int) -> None:
        self.tensors = tensors
        self.size = size
        self.first = first
        self.last = last


def tensor_lifetimes(steps: Sequence[Step], owner: Callable[[str], str]) -> dict[str, tuple[int, int]]:
    """First and last step that name each tensor; aliases count for their owner."""
    lifetimes: dict[str, tuple[int, int]] = {}
    for index, step in enumerate(steps):
        for name in (*step.reads, *step.writes):
            root = owner(name)
            lifetimes[root] = (lifetimes.get(root, (index, index))[0], index)
    return lifetimes


def assign_buffers(
    steps: Sequence[Step],
    sizes: dict[str, int],
    owner: Callable[[str], str],
    kept: Collection[str],
    parts: Collection[str] = (),
) -> list[Buffer]:
    """The buffers that the arena must hold.

    A step's output takes over the buffer of an input if the kernel allows it, no later step needs that
    input, the step reads it through one parameter only, and the output is not larger.

    Args:
        steps: the steps in order.
        sizes: bytes of each tensor that may live in the arena.
        owner: the tensor whose memory a tensor shares.
        kept: tensors that live elsewhere (inputs, outputs, constants).
        parts: tensors that are a part of their owner; nothing is computed in their place.
    """
    lifetimes = tensor_lifetimes(steps, owner)
    buffers: dict[str, Buffer] = {}
    for index, step in enumerate(steps):
        for name in step.writes:
            root = owner(name)
            if root in kept or root in buffers:
                continue
            taken = _in_place_of(root, index, step, sizes, owner, lifetimes, buffers, parts)
            if taken is not None:
                taken.tensors.append(root)
                taken.last = lifetimes[root][1]
                buffers[root] = taken
            else:
                buffers[root] = Buffer([root], sizes[root], *lifetimes[root])
    return list({id(buffer): buffer for buffer in buffers.values()}.values())


def _in_place_of(
    output: str,
    index: int,
    step: Step,
    sizes: dict[str, int],
    owner: Callable[[str], str],
    lifetimes: dict[str, tuple[int, int]],
    buffers: dict[str, Buffer],
    parts: Collection[str],
) -> Buffer | None:
    if not isinstance(step, KernelStep) or lifetimes[output][0] != index:
        return None
    read = [owner(name) for name in step.reads]
    for source, target in step.in_place:
        root = owner(source)
        buffer = buffers.get(root)
        if (
            owner(target) == output
            and source not in parts
            and buffer is not None
            and buffer.tensors[-1] == root
            and lifetimes[root][1] == index
            and read.count(root) == 1
            and sizes[output] <= buffer.size
        ):
            return buffer
    return None
