"""The parts of a plan: steps that call kernels, and steps that run on the host."""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.abi import WORKER
from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.memory import align


class KernelStep:
    """One call of a kernel by all workers.

    Attributes:
        kernel: the kernel.
        values: a value for each field of the kernel's params. A string is the name of a tensor and
            becomes its buffer reference; numbers are stored as they are. ``""`` becomes -1: no buffer.
        writes: those tensors among the values that the kernel writes; all others are only read.
        node: name of the graph's node, for profiles.
        op: operator of that node.
        scratch_bytes: memory that each worker needs while it runs the step.
        macs: multiply-accumulate operations of the step, 0 where the notion does not apply.
        in_place: pairs (input, output) of tensors that may share one buffer if the input is not needed later.
        tensors: those of the values that are names of tensors, or ``""``.
        reads: the tensors that the kernel reads.
    """

    def __init__(
        self,
        kernel: KernelRow,
        values: dict[str, int | float | str],
        writes: tuple[str, ...],
        node: str,
        op: str,
        scratch_bytes: int = 0,
        macs: int = 0,
        in_place: tuple[tuple[str, str], ...] = (),
        tensors: Mapping[str, str] | None = None,
    ) -> None:
        self.kernel = kernel
        self.values = values
        self.writes = writes
        self.node = node
        self.op = op
        self.scratch_bytes = scratch_bytes
        self.macs = macs
        self.in_place = in_place
        if tensors is None:
            tensors = {field: value for field, value in values.items() if type(value) is str}
        self.tensors = tensors
        self.reads = tuple([name for name in tensors.values() if name and name not in writes])

    def renamed(self, names: Mapping[str, str]) -> KernelStep:
        """The same call for other tensors, which are nobody's to take the place of: new name by old name."""
        tensors = {field: names.get(name, name) for field, name in self.tensors.items()}
        writes = tuple([names.get(name, name) for name in self.writes])
        values = {**self.values, **tensors}
        return KernelStep(
            self.kernel, values, writes, self.node, self.op, self.scratch_bytes, self.macs, tensors=tensors
        )


class StripsStep(KernelStep):
    """Several calls for each strip of rows of a picture, all calls of a strip by one worker.

    Attributes:
        strips: the calls of each strip in turn; every strip has as many.
        local: places of tensors that calls of one strip hand on, in bytes from the worker's own base.
        local_bytes: how many bytes these are.
        base: number of the worker's own base, behind those of the run.
        nodes: names of the nodes that it does.
        values: as for ``KernelStep``; ``first`` is set when the plan's table is known.
    """

    def __init__(
        self,
        kernel: KernelRow,
        strips: list[list[KernelStep]],
        local: dict[str, int],
        local_bytes: int,
        bases: int,
        writes: tuple[str, ...],
        nodes: list[str],
        op: str,
        macs: int,
    ) -> None:
        self.strips = strips
        self.local = local
        self.local_bytes = local_bytes
        self.base = bases
        self.nodes = nodes
        calls = [call for strip in strips for call in strip]
        fields = strips_fields(0, len(strips), len(strips[0]), bases, local_bytes)
        values: dict[str, int | float | str] = {**fields}
        scratch = fields["scratch_start"] + max(call.scratch_bytes for call in calls)
        super().__init__(kernel, values, writes, " + ".join(nodes), op, scratch, macs)
        self.reads = tuple(dict.fromkeys(name for call in calls for name in call.reads if name not in local))


def strips_fields(first: int, strips: int, calls: int, bases: int, local_bytes: int = 0) -> dict[str, int]:
    """Params fields of the kernel that runs strips.

    Args:
        first: row of the first strip's first call in the table of steps.
        strips: number of strips.
        calls: calls of each.
        bases: number of bases of the run.
        local_bytes: what the calls of a strip hand on.
    """
    local_start = align(WORKER.itemsize + (bases + 1) * 8)
    return {
        "first": first, "calls": calls, "bases": bases, "local_start": local_start,
        "scratch_start": local_start + align(local_bytes), "tiles": strips,
    }  # fmt: skip


class HostStep:
    """One node run by its NumPy reference, because no kernel fits.

    Attributes:
        node: the node.
        reason: why it is not native, for ``inspect`` and profiles.
    """

    def __init__(self, node: Node, reason: str, reads: tuple[str, ...] = (), writes: tuple[str, ...] = ()) -> None:
        self.node = node
        self.reason = reason
        self.reads = reads
        self.writes = writes


Step = KernelStep | HostStep
