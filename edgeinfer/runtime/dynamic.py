"""Running graphs in which shapes depend on data, region by region.

What can be planned is planned and runs natively; nodes such as NonZero run from their references; what follows is
planned when their outputs are known, and that plan is kept for the next time the same shapes come up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np

from edgeinfer.graph import DType, Graph, TensorType, reads
from edgeinfer.ops import evaluate_node
from edgeinfer.plan.plan import Plan
from edgeinfer.plan.regions import Region, first_region
from edgeinfer.plan.weights import WeightBlock
from edgeinfer.runtime.executor import Executor, StepTime

RECENT_SHAPES = 8

MakeExecutor = Callable[[Plan], Executor]
PlanRegion = Callable[[Graph, WeightBlock], Plan]


class DynamicRunner:
    """Runs a graph whose regions are planned one after the other.

    Args:
        graph: a prepared graph.
        plan_region: plans a static graph.
        make_executor: gives a plan its memory.
    """

    def __init__(self, graph: Graph, plan_region: PlanRegion, make_executor: MakeExecutor) -> None:
        self._graph = graph
        self._plan_region = plan_region
        self._make_executor = make_executor
        self._weights = WeightBlock(graph.constants)
        self._parts: OrderedDict[tuple[object, ...], _Part] = OrderedDict()

    def run(self, values: Mapping[str, np.ndarray], times: list[StepTime] | None = None) -> dict[str, np.ndarray]:
        """Compute the outputs by name.

        Args:
            values: the inputs of the graph by name; a sequence is a list of arrays.
            times: where to append the time of every step; None to measure nothing.

        Raises:
            ShapeError: if the shapes do not fit together inside the graph.
        """
        given = {name: values[name] for name in self._graph.inputs}
        part = self._part(given)
        known: dict[str, np.ndarray] = {**part.region.known, **given, **part.run_static(given, times)}
        for node in part.region.dynamic:
            start = time.perf_counter()
            inputs = [known[name] if name else None for name in node.inputs]
            outer = {name: known[name] for name in reads(node) if name not in node.inputs}
            results = evaluate_node(node, inputs, outer)
            known.update({name: array for name, array in zip(node.outputs, results, strict=False) if name})
            if times is not None:
                reason = "shapes of its outputs depend on data"
                times.append(StepTime(node.name, node.op, None, time.perf_counter() - start, 0, reason))
        if part.rest is not None:
            known.update(part.rest.run(known, times))
        return {name: known[name] for name in self._graph.outputs}

    def clear(self) -> None:
        """Forget all plans and their memory."""
        self._parts.clear()

    def _part(self, given: Mapping[str, np.ndarray]) -> _Part:
        key = tuple((a.shape, a.dtype.str) if isinstance(a, np.ndarray) else None for a in given.values())
        if key not in self._parts:
            types = {name: _type_of(self._graph, name, array) for name, array in given.items()}
            region = first_region(self._graph, types)
            executor = None
            if region.static.outputs:
                executor = self._make_executor(self._plan_region(region.static, self._weights))
            rest = region.rest
            runner = DynamicRunner(rest, self._plan_region, self._make_executor) if rest is not None else None
            self._parts[key] = _Part(region, executor, runner)
            if len(self._parts) > RECENT_SHAPES:
                self._parts.popitem(last=False)
        self._parts.move_to_end(key)
        return self._parts[key]


class _Part:
    """The first region for one set of input shapes, and the runner of what follows."""

    def __init__(self, region: Region, executor: Executor | None, rest: DynamicRunner | None) -> None:
        self.region = region
        self.rest = rest
        self._executor = executor

    def run_static(self, given: Mapping[str, np.ndarray], times: list[StepTime] | None) -> dict[str, np.ndarray]:
        """Outputs of the planned part by name."""
        if self._executor is None:
            return {}
        plan = self._executor.plan
        inputs = [np.ascontiguousarray(given[name]).reshape(given[name].shape) for name in plan.inputs]
        outputs = self._executor.new_outputs()
        if times is None:
            self._executor.run(inputs, outputs)
        else:
            times += self._executor.profile(inputs, outputs)
        return dict(zip(plan.outputs, outputs, strict=True))


def _type_of(graph: Graph, name: str, array: np.ndarray) -> TensorType | None:
    """The static type of a value at hand; None for a sequence."""
    if not isinstance(array, np.ndarray):
        return None
    declared = graph.types.get(name)
    same = declared is not None and declared.dtype.numpy == array.dtype
    return TensorType(declared.dtype if same and declared is not None else DType.of(array), tuple(array.shape))
