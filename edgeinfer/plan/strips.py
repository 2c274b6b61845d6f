"""Chains of operators that are run strip by strip.

    before: Conv 1x1 ──whole picture──▶ depthwise Conv ──whole picture──▶ Conv 1x1
    after:  for each strip of rows:  Conv 1x1 ──▶ depthwise Conv ──▶ Conv 1x1

One worker does all of a strip, so what is handed on stays in its cache and nobody waits between the operators (layer
fusion: Alwani et al., "Fused-Layer CNN Accelerators", 2016). In front of a depthwise convolution neighbouring strips
overlap by some rows, which are computed twice.

Each operator of a strip is a node of its own for the lowering: it reads and writes tensors of fewer rows, with the
padding that is left there.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from operator import mul

from edgeinfer.abi import FIRST_BINDING
from edgeinfer.errors import PlanError
from edgeinfer.graph import Node
from edgeinfer.plan.chains import Link
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, find_lowering
from edgeinfer.plan.memory import align
from edgeinfer.plan.step import KernelStep, StripsStep
from edgeinfer.records import NamedTuple

# The key of ``choices`` for all chains, and its value that has them run operator by operator.
CHAINS, WHOLE = "chains", "whole"
# By how much of the work a worker may have more to do with strips, where it need not wait for others in return, or
# not for memory; and by how much for the sake of workers of unequal speed.
MOST_EXTRA, MOST_EXTRA_ALONE, MOST_EXTRA_TO_BALANCE = 0.2, 0.08, 0.05
STRIPS_PER_THREAD = 2

# Rows of the last output: the first, and one beyond the last.
Strip = tuple[int, int]


class _Part(NamedTuple):
    """A node for one strip: rows of its output, rows of its picture, and rows of padding."""

    link: Link
    first: int
    last: int
    start: int
    stop: int
    above: int
    below: int

    @property
    def rows(self) -> int:
        """Rows of its output."""
        return self.last - self.first

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What tells apart parts that differ in more than their place."""
        return self.rows, self.stop - self.start, self.above, self.below


def takes_strips(context: LoweringContext) -> bool:
    """Whether chains may be run strip by strip."""
    return bool(context.kernels.family("run_strips")) and context.choices.get(CHAINS) != WHOLE


def choose_strips(chain: Sequence[Link], threads: int, cache_bytes: int) -> tuple[list[Link], list[Strip]]:
    """What of a chain is to be run strip by strip, and the strips; nothing where that does not pay.

    Args:
        chain: the chain; its first nodes may be left out.
        threads: number of workers.
        cache_bytes: how much of what a strip hands on stays in a core's cache.
    """
    for first in range(len(chain) - 1):
        part = list(chain[first:])
        strips = _cut(part, threads, cache_bytes)
        if strips:
            return part, strips
    return [], []


def _cut(chain: Sequence[Link], threads: int, cache_bytes: int) -> list[Strip]:
    """The strips of a chain, none if it is better run operator by operator."""
    height = chain[-1].out_height

    @functools.cache
    def made(count: int) -> list[list[int]]:
        return [_rows_made(chain, strip) for strip in _even_strips(height, count)]

    handed_on = _most_handed_on(chain, made(1))
    if threads == 1 and handed_on <= cache_bytes:
        return []
    limit = MOST_EXTRA if threads > 1 else MOST_EXTRA_ALONE
    # As few strips as fit the cache, fewer if their overlap costs too much.
    rounds = max(1, handed_on // (cache_bytes * threads))
    while rounds * threads < height and _most_handed_on(chain, made(rounds * threads)) > cache_bytes:
        rounds += 1
    while rounds > 1 and _extra_work(chain, made(rounds * threads), threads) > MOST_EXTRA_ALONE:
        rounds -= 1
    count, finer = rounds * threads, STRIPS_PER_THREAD * threads
    if rounds == 1 and threads > 1 and _extra_work(chain, made(finer), threads) <= MOST_EXTRA_TO_BALANCE:
        return _even_strips(height, finer)
    strips = _even_strips(height, count)
    return strips if len(strips) > 1 and _extra_work(chain, made(count), threads) <= limit else []


def _even_strips(height: int, count: int) -> list[Strip]:
    count = min(height, count)
    return [(index * height // count, (index + 1) * height // count) for index in range(count)]


def _parts(chain: Sequence[Link], strip: Strip) -> list[_Part]:
    """The nodes of a chain for one strip."""
    parts: list[_Part] = []
    first, last = strip
    for link in reversed(chain):
        parts.append(_Part(link, first, last, *link.rows_for(first, last)))
        first, last = parts[-1].start, parts[-1].stop
    return parts[::-1]


def _rows_made(chain: Sequence[Link], strip: Strip) -> list[int]:
    """Rows that the nodes of a strip make, those of the last node first."""
    first, last = strip
    rows = []
    for link in reversed(chain):
        rows.append(last - first)
        first, last, _, _ = link.rows_for(first, last)
    return rows


def _most_handed_on(chain: Sequence[Link], made: Sequence[Sequence[int]]) -> int:
    """Bytes that the nodes of a strip hand on, of the strip with most of them; ``made`` has the rows of each."""
    row_bytes = [0, *(link.row_bytes for link in chain[-2::-1])]
    return max(sum(map(mul, rows, row_bytes)) for rows in made)


def _extra_work(chain: Sequence[Link], made: Sequence[Sequence[int]], threads: int) -> float:
    """How much more than its share of the work the worker with the most of it does, in parts of that share."""
    row_work = [link.row_work for link in chain[::-1]]
    work = [sum(map(mul, rows, row_work)) for rows in made]
    share = sum(link.out_height * link.row_work for link in chain) / threads
    bounds = [len(work) * worker // threads for worker in range(threads + 1)]
    most = max(sum(work[first:last]) for first, last in itertools.pairwise(bounds))
    return most / share - 1


def append_strips(chain: Sequence[Link], strips: Sequence[Strip], context: LoweringContext) -> bool:
    """Append one step for a chain; returns False, and appends nothing, where some of it has no kernels."""
    state, threads = context.state(), context.threads
    # All calls of a strip are one worker's.
    context.threads = 1
    lowering = _StripLowering(chain, context)
    images = context.shape(chain[-1].node.outputs[0])[0]
    try:
        calls = [lowering.calls_of(image, strip) for image in range(images) for strip in strips]
        if len({len(steps) for steps in calls}) > 1:
            raise NotNative("strips differ in their number of steps")
    except (NotNative, PlanError):
        context.restore(state)
        return False
    finally:
        context.threads = threads
    local, local_bytes = lowering.places()
    nodes = [link.node for link in chain]
    step = StripsStep(
        context.kernels.only("run_strips"), calls, local, local_bytes, FIRST_BINDING + context.bindings,
        (nodes[-1].outputs[0],), [node.name for node in nodes], nodes[-1].op,
        lowering.macs(),
    )  # fmt: skip
    context.steps.append(step)
    return True


class _Lowered(NamedTuple):
    """The steps of a part, and the tensors that it was lowered for: what it reads, then what it writes."""

    tensors: list[str]
    steps: list[KernelStep]


class _StripLowering:
    """Lowers a chain strip by strip; parts that differ in their place alone are lowered once."""

    def __init__(self, chain: Sequence[Link], context: LoweringContext) -> None:
        self.chain = chain
        self.context = context
        self._lowered: dict[tuple[int, tuple[int, int, int, int]], _Lowered] = {}
        # Tensors that are handed on, by what hands them on and their rows.
        self._handed_on: dict[tuple[str, int], str] = {}
        # Tensors of different strips that may lie in the same place.
        self._slots: dict[tuple[int, int], set[str]] = {}
        # Rows and multiply-adds of each part, those done twice included.
        self._done = [[0, 0] for _ in chain]

    def calls_of(self, image: int, strip: Strip) -> list[KernelStep]:
        """The calls for one strip of one image.

        Raises:
            NotNative: if some of it has no kernels.
        """
        context, calls = self.context, []
        handed_on: dict[str, str] = {}
        for index, part in enumerate(_parts(self.chain, strip)):
            node = part.link.node
            inputs = []
            for position, name in enumerate(node.inputs):
                if name and name not in handed_on and context.constant(name) is None:
                    is_picture = position == 0 and part.link.is_convolution
                    rows = (part.start, part.stop) if is_picture else (part.first, part.last)
                    inputs.append(context.rows_of(name, image, *rows))
                else:
                    inputs.append(handed_on.get(name, name))
            y = node.outputs[0]
            if part.link is self.chain[-1]:
                output = context.rows_of(y, image, part.first, part.last)
            else:
                output = handed_on[y] = self._tensor_of(index, part)
            steps = self._steps_of(index, part, inputs, output)
            self._done[index][0] += part.rows
            self._done[index][1] += sum(step.macs for step in steps)
            calls += steps
        return calls

    def macs(self) -> int:
        """Multiply-adds of all strips together, each row of a picture once."""
        images = self.context.shape(self.chain[-1].node.outputs[0])[0]
        counted = zip(self.chain, self._done, strict=True)
        return sum(macs * images * link.out_height // rows for link, (rows, macs) in counted)

    def _tensor_of(self, index: int, part: _Part) -> str:
        name, context = part.link.node.outputs[0], self.context
        if (name, part.rows) not in self._handed_on:
            _, _, width, channels = context.shape(name)
            made = context.temporary(f"{name}.strip", (1, part.rows, width, channels), context.dtype(name))
            self._handed_on[name, part.rows] = made
            self._slots.setdefault((index, 0), set()).add(made)
        return self._handed_on[name, part.rows]

    def _steps_of(self, index: int, part: _Part, inputs: list[str], output: str) -> list[KernelStep]:
        tensors = [*inputs, output]
        known = self._lowered.get((index, part.shape))
        if known is None:
            known = self._lowered[index, part.shape] = _Lowered(tensors, self._lower(part, inputs, output))
            own = (name for step in known.steps for name in step.writes if name != output)
            for number, name in enumerate(dict.fromkeys(own)):
                self._slots.setdefault((index, number + 1), set()).add(name)
        renamed = dict(zip(known.tensors, tensors, strict=True))
        return [step.renamed(renamed) for step in known.steps]

    def _lower(self, part: _Part, inputs: list[str], output: str) -> list[KernelStep]:
        node, context, done = part.link.node, self.context, len(self.context.steps)
        attributes = node.attributes
        if part.link.is_convolution:
            _, left, _, right = attributes.get("pads", [0, 0, 0, 0])
            attributes = {**attributes, "pads": [part.above, left, part.below, right]}
        lower = find_lowering(node.key)
        if lower is None or part.stop <= part.start:
            raise NotNative("there is no kernel for it, or no row to read")
        lower(Node(node.op, inputs, [output], attributes, node.name, node.domain), context)
        steps = [step for step in context.steps[done:] if isinstance(step, KernelStep)]
        del context.steps[done:]
        return steps

    def places(self) -> tuple[dict[str, int], int]:
        """Where the tensors of a strip lie in a worker's own memory, in bytes, and how much of it they take."""
        places: dict[str, int] = {}
        end = 0
        for names in self._slots.values():
            places |= dict.fromkeys(names, end)
            end += align(max(self._bytes(name) for name in names))
        return places, end

    def _bytes(self, name: str) -> int:
        return math.prod(self.context.shape(name)) * self.context.dtype(name).itemsize
