"""The plan: what the runtime executes and what a bundle holds, as plain data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeinfer.abi import ARENA, buffer_ref
from edgeinfer.graph import TensorType
from edgeinfer.plan.memory import align
from edgeinfer.plan.step import HostStep, KernelStep
from edgeinfer.plan.weights import WeightBlock
from edgeinfer.records import NamedTuple


class PlannedTensor(NamedTuple):
    """Where a tensor lies.

    Attributes:
        type: dtype and static shape.
        base: number of its base: ARENA, WEIGHTS, or FIRST_BINDING + index of an input, then of an output.
        offset: bytes from the base.
        owner: the tensor whose memory it shares; its own name if it has memory of its own.
    """

    type: TensorType
    base: int
    offset: int
    owner: str

    @property
    def ref(self) -> int:
        """The buffer reference that kernels read."""
        return buffer_ref(self.base, self.offset)

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""
        return tuple(map(int, self.type.shape or ()))

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count * self.type.dtype.itemsize


class NativeStep(NamedTuple):
    """A kernel call with finished params.

    Attributes:
        call: the call as its lowering made it.
        params: the kernel's struct, with buffer references for tensors.
        calls: what it calls itself, see ``StripsStep``.
    """

    call: KernelStep
    params: np.void
    calls: tuple[NativeStep, ...] = ()


class Plan(NamedTuple):
    """Everything needed to run a graph for one set of input shapes.

    Attributes:
        level: CPU level of the kernels.
        threads: number of workers that it is planned for.
        inputs: names of the inputs; input i is base FIRST_BINDING + i.
        outputs: names of the outputs; output i is base FIRST_BINDING + len(inputs) + i.
        steps: in order of execution.
        tensors: place and type of every tensor by name, aliases included.
        bindings: for each output the name of the tensor that is written into its buffer.
        activation_bytes: size of the part of the arena that holds tensors.
        lower_bound: bytes that no arrangement of these tensors could go below.
        scratch_bytes: memory of each worker, behind the tensors.
        weights: the constants, shared by all plans of a model.
        graph_nodes: number of nodes of the static graph that was planned.
        candidates: names of the kernels that nodes could take, the one estimated to be quickest first.
    """

    level: str
    threads: int
    inputs: list[str]
    outputs: list[str]
    steps: list[NativeStep | HostStep]
    tensors: dict[str, PlannedTensor]
    bindings: list[str]
    activation_bytes: int
    lower_bound: int
    scratch_bytes: int
    weights: WeightBlock
    graph_nodes: int
    candidates: dict[str, list[str]]

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena: tensors, then the scratch memory of all workers."""
        return self.activation_bytes + self.threads * self.scratch_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all native steps."""
        return sum(step.call.macs for step in self.native_steps())

    def native_steps(self) -> Iterator[NativeStep]:
        """The steps that call kernels."""
        return (step for step in self.steps if isinstance(step, NativeStep))

    def table(self) -> list[NativeStep]:
        """The rows of the table that is run: the native steps, then what these call themselves."""
        steps = list(self.native_steps())
        return steps + [call for step in steps for call in step.calls]

    def host_steps(self) -> list[HostStep]:
        """The steps that run from NumPy references, with the reasons."""
        return [step for step in self.steps if isinstance(step, HostStep)]

    def kernel_names(self) -> list[str]:
        """Names of all kernels used, each once."""
        return list(dict.fromkeys(step.call.kernel.name for step in self.table()))

    def arena_tensors(self) -> dict[str, PlannedTensor]:
        """The tensors that own memory in the arena."""
        return {n: t for n, t in self.tensors.items() if t.base == ARENA and t.owner == n}

    def params_block(self) -> tuple[np.ndarray, list[int]]:
        """All params one after the other on 64-byte boundaries, and the offset of those of each row of the table."""
        offsets, size, table = [], 0, self.table()
        for step in table:
            offsets.append(size)
            size += align(step.params.dtype.itemsize)
        block = np.zeros(size, np.uint8)
        for offset, step in zip(offsets, table, strict=True):
            data = step.params.tobytes()
            block[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
        return block, offsets
