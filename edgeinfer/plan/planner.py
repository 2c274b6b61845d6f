"""From a prepared graph and concrete shapes to a plan: steps, places of tensors, finished params."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from edgeinfer.abi import ARENA, FIRST_BINDING, WEIGHTS
from edgeinfer.errors import PlanError
from edgeinfer.graph import Graph, Node, TensorType, reads
from edgeinfer.plan.arena import plan_arena
from edgeinfer.plan.chains import Link, find_chains
from edgeinfer.plan.float16 import Float16Twins
from edgeinfer.plan.kernel_set import KernelSet
from edgeinfer.plan.lifetimes import assign_buffers
from edgeinfer.plan.lowering import LoweringContext, NotNative, find_lowering
from edgeinfer.plan.memory import align
from edgeinfer.plan.packing import Packer, Packing, pack_by_references
from edgeinfer.plan.plan import NativeStep, Plan, PlannedTensor
from edgeinfer.plan.signed_bytes import takes_signed_bytes, with_signed_bytes
from edgeinfer.plan.specialize import check_input_shapes, specialize
from edgeinfer.plan.step import HostStep, KernelStep, StripsStep
from edgeinfer.plan.strips import Strip, append_strips, choose_strips, takes_strips
from edgeinfer.plan.views import view_source
from edgeinfer.plan.weights import WeightBlock

NO_BUFFER = -1


def make_plan(
    graph: Graph,
    input_shapes: Mapping[str, tuple[int, ...]],
    kernels: KernelSet,
    threads: int = 1,
    weights: WeightBlock | None = None,
    precision: str = "float32",
    choices: Mapping[str, str] | None = None,
    packer: Packer = pack_by_references,
) -> Plan:
    """Plan a prepared graph for concrete input shapes.

    Args:
        graph: what ``prepare`` returned.
        input_shapes: shape of every input.
        kernels: the kernels that may be used; an empty set makes every step a host step.
        threads: number of workers.
        weights: the block that plans of this graph share; by default a new one.
        precision: number format, see ``Session``.
        choices: names of kernels to take for nodes instead of those that are estimated to be quickest.
        packer: what brings weights into the kernels' order.

    Raises:
        InputError: if the shapes do not fit the graph's inputs.
        ShapeError: naming the node whose inputs do not fit.
        DynamicShapeError: if shapes inside the graph depend on data.
    """
    check_input_shapes(graph, input_shapes)
    types = {name: TensorType(graph.types[name].dtype, tuple(shape)) for name, shape in input_shapes.items()}
    weights = weights or WeightBlock(graph.constants)
    return plan_static(specialize(graph, types), kernels, threads, weights, precision, choices, packer)


def plan_static(
    static: Graph, kernels: KernelSet, threads: int, weights: WeightBlock, precision: str = "float32",
    choices: Mapping[str, str] | None = None, packer: Packer = pack_by_references,
) -> Plan:  # fmt: skip
    """Plan a static graph; see ``make_plan``."""
    static = with_signed_bytes(static) if takes_signed_bytes(kernels) else static
    context = LoweringContext(
        kernels,
        threads,
        dict(static.types),
        dict(static.constants),
        weights.packed(),
        precision,
        choices,
        _count_readers(static),
        len(static.inputs) + len(static.outputs),
    )
    if precision == "float16":
        _lower_in_float16(static, context)
    else:
        _lower_all(static, context)
    bindings = _bind_outputs(static, context)
    _drop_unread(context, bindings)
    return _Layout(static, context, weights, bindings, packer).plan()


def _lower_all(static: Graph, context: LoweringContext) -> None:
    """Lower all nodes, chains of them strip by strip where that is estimated to be quicker."""
    chains: dict[str, tuple[list[Link], list[Strip]]] = {}
    waiting: set[int] = set()
    for whole in find_chains(static, context) if takes_strips(context) else ():
        chain, strips = choose_strips(whole, context.threads, context.kernels.only("run_strips").traits["cache_bytes"])
        if chain:
            chains[chain[-1].node.outputs[0]] = chain, strips
            waiting.update(id(link.node) for link in chain[:-1])
    for node in static.nodes:
        if id(node) in waiting:
            continue
        chain, strips = chains.get(node.outputs[0], ([], []))
        if chain and append_strips(chain, strips, context):
            continue
        for link in chain[:-1]:
            _lower(link.node, static, context)
        _lower(node, static, context)


def _count_readers(static: Graph) -> Counter[str]:
    """How many nodes and outputs read each tensor."""
    readers = Counter(static.outputs)
    for node in static.nodes:
        readers.update(reads(node))
    return readers


def _lower_in_float16(static: Graph, context: LoweringContext) -> None:
    """Lower all nodes, those that have float16 kernels with these."""
    twins = Float16Twins(context, lambda node: not _append_steps(node, context))
    for node in static.nodes:
        if not twins.lower(node, view_source(node, static)):
            twins.provide(reads(node))
            _lower(node, static, context)
    twins.provide(static.outputs)


def _lower(node: Node, static: Graph, context: LoweringContext) -> None:
    source = view_source(node, static)
    if source is not None:
        output = node.outputs[0]
        context.alias(output, source)
        constant = context.constant(source)
        if constant is not None:
            context.constants[output] = constant.reshape(context.shape(output))
        return
    if reason := _append_steps(node, context):
        context.steps.append(_host_step(node, reason))


def _append_steps(node: Node, context: LoweringContext) -> str:
    """Append a node's kernel steps; returns why there are none, else ``""``."""
    done = len(context.steps)
    try:
        if not context.kernels.rows:
            raise NotNative("there are no kernels")
        function = find_lowering(node.key)
        if function is None:
            raise NotNative(f"there is no kernel for {node.op}")
        function(node, context)
    except (NotNative, PlanError) as reason:
        del context.steps[done:]
        return str(reason)
    return ""


def _host_step(node: Node, reason: str) -> HostStep:
    return HostStep(node, reason, tuple(sorted(reads(node))), tuple(name for name in node.outputs if name))


def _owner_in(aliases: Mapping[str, str]) -> Callable[[str], str]:
    def owner(name: str) -> str:
        while name in aliases:
            name = aliases[name]
        return name

    return owner


def _bind_outputs(static: Graph, context: LoweringContext) -> list[str]:
    """For each output of the graph the tensor that is written into its buffer.

    That is the tensor itself where a step makes it. An output that is an input, a constant, a part of
    another tensor, or shares memory with another output gets a copy at the end.
    """
    owner = _owner_in(context.aliases)
    made = {owner(name) for step in context.steps for name in step.writes}
    bindings: list[str] = []
    for name in static.outputs:
        if owner(name) in made and owner(name) not in bindings and not context.is_part(name):
            bindings.append(owner(name))
            continue
        shape = context.shape(name)
        copy = context.temporary(f"{name}.output", shape, context.dtype(name))
        node = Node("Identity", [name], [copy], name=f"{name}.copy")
        static_copy = Graph(types={name: context.types[name], copy: context.types[copy]})
        _copy(node, static_copy, context)
        bindings.append(copy)
    return bindings


def _drop_unread(context: LoweringContext, bindings: list[str]) -> None:
    """Drop kernel steps whose results nobody reads, since their readers took what these were made of."""
    owner = _owner_in(context.aliases)
    needed, kept = {owner(name) for name in bindings}, []
    for step in reversed(context.steps):
        if isinstance(step, HostStep) or any(owner(name) in needed for name in step.writes):
            needed.update(owner(name) for name in step.reads)
            kept.append(step)
    context.steps = kept[::-1]


def _copy(node: Node, static: Graph, context: LoweringContext) -> None:
    function = find_lowering(node.key)
    try:
        if function is None or not context.kernels.rows:
            raise NotNative("an output that is an input, a constant or another output is copied")
        function(node, context)
    except NotNative as reason:
        context.steps.append(_host_step(node, str(reason)))


class _Layout:
    """Gives every tensor a place and every step its params."""

    def __init__(
        self, static: Graph, context: LoweringContext, weights: WeightBlock, bindings: list[str], packer: Packer
    ) -> None:
        self.static = static
        self.context = context
        self.weights = weights
        self.bindings = bindings
        self.packer = packer
        self.owner = _owner_in(context.aliases)
        self.places: dict[str, tuple[int, int]] = {}

    def plan(self) -> Plan:
        """The finished plan."""
        context, static = self.context, self.static
        self._place_bindings()
        self._place_constants()
        activation_bytes, lower_bound = self._place_activations()
        tensors = self._tensors()
        steps = self._finish_all(tensors)
        scratch = max((step.scratch_bytes for step in context.steps if isinstance(step, KernelStep)), default=0)
        return Plan(
            context.kernels.level,
            context.threads,
            static.inputs,
            static.outputs,
            steps,
            tensors,
            self.bindings,
            activation_bytes,
            lower_bound,
            align(scratch),
            self.weights,
            len(static.nodes),
            context.candidates,
        )

    def _place_bindings(self) -> None:
        for index, name in enumerate([*self.static.inputs, *self.bindings]):
            self.places[name] = (FIRST_BINDING + index, 0)

    def _place_constants(self) -> None:
        constants, packings = self.context.constants, self.context.packings
        # In the order of the steps: the same plan gives the same bytes.
        named = dict.fromkeys(self.owner(name) for step in self.context.steps for name in step.reads)
        used: dict[str, np.ndarray | Packing] = {name: constants.pop(name) for name in named if name in constants}
        used |= {name: packings.pop(name) for name in named if name in packings}
        origins = {name: key for key, name in self.context.packed_names.items()}
        for name, offset in self.weights.add(used, origins, self.packer).items():
            self.places[name] = (WEIGHTS, offset)

    def _place_activations(self) -> tuple[int, int]:
        context = self.context
        sizes: dict[str, int] = {}
        for step in context.steps:
            for name in step.writes:
                known = context.types[name]
                count = 1
                for dim in context.shape(name):
                    count *= dim
                sizes[self.owner(name)] = count * known.dtype.itemsize
        parts = {name for name in context.aliases if context.is_part(name)}
        buffers = assign_buffers(context.steps, sizes, self.owner, self.places.keys(), parts)
        arena = plan_arena(buffers)
        for buffer, offset in zip(buffers, arena.offsets, strict=True):
            for name in buffer.tensors:
                self.places[name] = (ARENA, offset)
        return arena.size, arena.lower_bound

    def _tensors(self) -> dict[str, PlannedTensor]:
        named = dict.fromkeys(self.static.inputs)
        for step in self.context.steps:
            named.update(dict.fromkeys((*step.reads, *step.writes)))
        named.update(dict.fromkeys(self.context.aliases))
        tensors = {}
        for name in named:
            owner = self.owner(name)
            if owner in self.places:
                base, start = self.places[owner]
                tensors[name] = PlannedTensor(self.context.types[name], base, start + self._offset(name), owner)
            elif owner not in self.context.constants:
                raise PlanError(f"tensor '{name}' is read, but no step writes it")
        return tensors

    def _offset(self, name: str) -> int:
        """Bytes from the start of a tensor's owner to its own."""
        offset = 0
        while name in self.context.aliases:
            offset += self.context.offsets.get(name, 0)
            name = self.context.aliases[name]
        return offset

    def _finish_all(self, tensors: dict[str, PlannedTensor]) -> list[NativeStep | HostStep]:
        """All steps; what some of them call follows in the table behind the last of them, in their order."""
        row = sum(isinstance(step, KernelStep) for step in self.context.steps)
        refs = {name: tensor.ref for name, tensor in tensors.items()}
        refs[""] = NO_BUFFER
        finished: list[NativeStep | HostStep] = []
        for step in self.context.steps:
            if isinstance(step, HostStep):
                finished.append(step)
                continue
            calls: list[NativeStep] = []
            if isinstance(step, StripsStep):
                step.values["first"] = row
                for name, offset in step.local.items():
                    tensors[name] = PlannedTensor(self.context.types[name], step.base, offset, name)
                    refs[name] = tensors[name].ref
                calls = [NativeStep(call, _finished_params(call, refs)) for strip in step.strips for call in strip]
                row += len(calls)
            finished.append(NativeStep(step, _finished_params(step, refs), tuple(calls)))
        return finished


def _finished_params(step: KernelStep, refs: Mapping[str, int]) -> np.void:
    """The params of a step with buffer references for names of tensors."""
    kernel = step.kernel
    given = {**step.values, **{field: refs[name] for field, name in step.tensors.items()}}
    try:
        values = kernel.in_order(given)
    except KeyError:
        values = ()
    if len(values) != len(given):
        raise PlanError(
            f"node '{step.node}': kernel {kernel.name} takes params {sorted(kernel.params.names or ())}, "
            f"but its lowering gave {sorted(given)}"
        )
    params: np.void = kernel.params_from(values)[0]
    return params
