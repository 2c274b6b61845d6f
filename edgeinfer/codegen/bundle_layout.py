"""Where the parts of a bundle's instance lie in the app's block of memory."""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.abi import ALIGNMENT, FIRST_BINDING, TEAM, WORKER
from edgeinfer.plan.memory import align
from edgeinfer.plan.plan import Plan

_HEADER_BYTES = 64
_WORD = 8


@dataclass(frozen=True)
class BundleLayout:
    """Offsets in an instance, which starts at the first multiple of 64 in the block; all in bytes.

    Attributes:
        team: the TEAM record, behind a header of 64 bytes.
        bases: the table of bases.
        arena: the tensors.
        workers: the WORKER records; scratch memory follows the last of them.
        scratch_bytes: scratch memory of one thread.
    """

    team: int
    bases: int
    arena: int
    workers: int
    scratch_bytes: int

    @property
    def fixed_bytes(self) -> int:
        """Memory that does not depend on the number of threads, with what aligning the block may cost."""
        return self.workers + ALIGNMENT

    @property
    def thread_bytes(self) -> int:
        """Memory of each thread."""
        return WORKER.itemsize + self.scratch_bytes


def bundle_layout(plan: Plan) -> BundleLayout:
    """The layout of instances of a plan."""
    bases = _HEADER_BYTES + TEAM.itemsize
    arena = bases + align((FIRST_BINDING + len(plan.inputs) + len(plan.outputs)) * _WORD)
    return BundleLayout(_HEADER_BYTES, bases, arena, arena + align(plan.activation_bytes), align(plan.scratch_bytes))
