"""The session: a loaded model that runs."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.errors import DynamicShapeError, InputError
from edgeinfer.files import TUNED, cache_path
from edgeinfer.graph import DType, Graph, TensorType
from edgeinfer.plan.kernel_set import check_precision
from edgeinfer.plan.packing import Packing
from edgeinfer.plan.plan import Plan
from edgeinfer.plan.planner import make_plan, plan_static
from edgeinfer.plan.prepare import prepare
from edgeinfer.plan.weights import WeightBlock
from edgeinfer.runtime.binding import Binding, check_bindable, check_outputs
from edgeinfer.runtime.executor import Executor, StepTime
from edgeinfer.runtime.kernel_loader import Kernels, host_kernels
from edgeinfer.runtime.port import Port
from edgeinfer.runtime.threads import resolve_threads
from edgeinfer.runtime.weight_packer import pack_by_kernels
from edgeinfer.runtime.workers import WorkerTeam

if TYPE_CHECKING:
    from pathlib import Path

    from edgeinfer.runtime.dynamic import DynamicRunner

# Plans are kept for this many sets of input shapes.
RECENT_PLANS = 8

Key = tuple[tuple[int, ...], ...]


class Session:
    """A model ready to run on this machine's CPU.

    New input shapes are planned by themselves, and recent plans are kept. A session may be called from many
    threads; its runs then follow each other. Used as a context manager it ends its worker threads at the end.

    Args:
        graph: a graph, as a converter or ``read_edge`` returns it.
        threads: number of workers, or ``"auto"``.
        kernels: where compiled kernels come from; by default those for this machine.
        precision: ``"float32"``; or ``"bfloat16"``, with which convolutions round pictures and weights to bfloat16
            (8 bits of mantissa) and add up in float32, on CPUs that have instructions for it; or ``"float16"``, with
            which tensors between steps, products and sums are float16 (11 bits, up to 65504) on Armv8.2. Inputs and
            outputs keep the model's dtypes.
        choices: kernels to take for nodes, by name; None takes what ``edgeinfer tune`` found on this machine, if it was
            ever asked.

    Raises:
        KernelError: if there are no kernels for this machine.
        PlanError: if there are none of that precision.
    """

    def __init__(
        self,
        graph: Graph,
        threads: int | str = "auto",
        kernels: Kernels | None = None,
        precision: str = "float32",
        choices: Mapping[str, str] | None = None,
    ) -> None:
        self.name = graph.name
        self._choices = choices
        self._fingerprint = ""
        self.threads = resolve_threads(threads)
        self._kernels = kernels or host_kernels()
        self._precision = check_precision(precision, self._kernels.kernel_set)
        self._graph = prepare(graph)
        dtypes = {name: self._graph.types[name].dtype for name in self._graph.inputs}
        self._wanted = {name: (dtype, dtype.numpy) for name, dtype in dtypes.items()}
        self._weights = WeightBlock(self._graph.constants)
        self._executors: OrderedDict[Key, Executor | None] = OrderedDict()
        # Plans that were asked for, and not run yet.
        self._waiting: OrderedDict[Key, Plan] = OrderedDict()
        self._dynamic: DynamicRunner | None = None
        self._lock = threading.Lock()
        self._team: WorkerTeam | None = None
        self._closed = False

    @property
    def inputs(self) -> list[Port]:
        """The inputs in order."""
        return [self._port(name) for name in self._graph.inputs]

    @property
    def outputs(self) -> list[Port]:
        """The outputs in order."""
        return [self._port(name) for name in self._graph.outputs]

    def _port(self, name: str) -> Port:
        known = self._graph.types.get(name, TensorType(DType.FLOAT32, None))
        return Port(name, known.dtype, known.shape)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model.

        Args:
            feeds: an array for every input.

        Returns:
            New arrays, one for each output.

        Raises:
            InputError: for an unknown or missing input, a wrong dtype, rank or size.
            ShapeError: if the shapes do not fit together inside the model.
        """
        arrays = self._checked(feeds)
        with self._lock:
            executor = self._executor(arrays)
            if executor is None:
                return self._dynamic_runner().run(dict(zip(self._graph.inputs, arrays, strict=True)))
            outputs = executor.new_outputs()
            executor.run(arrays, outputs)
        return dict(zip(self._graph.outputs, outputs, strict=True))

    def __call__(self, *arrays: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Run with the inputs in order; returns the output, or a list if there are several."""
        if len(arrays) != len(self._graph.inputs):
            raise InputError(
                f"the model takes {len(self._graph.inputs)} inputs {self._graph.inputs}, got {len(arrays)}"
            )
        results = list(self.run(dict(zip(self._graph.inputs, arrays, strict=True))).values())
        return results[0] if len(results) == 1 else results

    def bind(self, arrays: Mapping[str, np.ndarray]) -> Binding:
        """Fix the arrays of all inputs and outputs, for running again and again without any copy.

        Args:
            arrays: a C-contiguous array for every input and every output; outputs are overwritten by each run.

        Raises:
            InputError: if one is missing, unknown, of the wrong dtype or shape, not contiguous,
                or if an output shares memory with another array.
        """
        names = [*self._graph.inputs, *self._graph.outputs]
        check_bindable(arrays, names)
        inputs = self._checked({name: arrays[name] for name in self._graph.inputs})
        outputs = [arrays[name] for name in self._graph.outputs]
        with self._lock:
            executor = self._executor(inputs)
        if executor is None:
            raise InputError("bind needs outputs of known shapes; those of this model depend on data: use run")
        check_outputs(executor, arrays, self._graph.outputs)
        return Binding(executor, inputs, outputs, self._lock, self._check_open)

    def plan(self, shapes: Mapping[str, tuple[int, ...]]) -> Plan:
        """The plan for given input shapes, which runs with these shapes follow: ask for it to have a quick first run.

        Raises:
            InputError: if the shapes do not fit the model's inputs.
            DynamicShapeError: if shapes inside the model depend on data.
        """
        # Planning may move the weights, which a run in another thread would still be reading.
        with self._lock:
            self._check_open()
            key = tuple(tuple(shapes.get(name, ())) for name in self._graph.inputs)
            executor = self._executors.get(key)
            known = executor.plan if executor is not None else self._waiting.get(key)
            if known is not None and shapes.keys() == self._wanted.keys():
                return known
            plan = self._plan(shapes)
            self._waiting[key] = plan
            if len(self._waiting) > RECENT_PLANS:
                self._waiting.popitem(last=False)
            return plan

    def _plan(self, shapes: Mapping[str, tuple[int, ...]]) -> Plan:
        choices = self._choices
        if choices is None:
            choices = self._tuned(shapes) if os.path.isdir(os.path.join(cache_path(), TUNED)) else {}
        return make_plan(
            self._graph, shapes, self._kernels.kernel_set, self.threads, self._weights, self._precision, choices,
            self._pack,
        )  # fmt: skip

    def tuning_file(self, shapes: Mapping[str, tuple[int, ...]]) -> Path:
        """Where ``edgeinfer tune`` keeps what it found for these input shapes, whether it is there or not."""
        from edgeinfer.runtime.tuning import model_fingerprint, tuning_file

        self._fingerprint = self._fingerprint or model_fingerprint(self._graph)
        level = self._kernels.kernel_set.level
        return tuning_file(self._fingerprint, shapes, level, self.threads, self._precision)

    def _tuned(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        from edgeinfer.runtime.tuning import read_choices

        return read_choices(self.tuning_file(shapes))

    def profile(self, feeds: Mapping[str, np.ndarray]) -> list[StepTime]:
        """Run once and measure every step by itself."""
        arrays = self._checked(feeds)
        with self._lock:
            executor = self._executor(arrays)
            if executor is not None:
                return executor.profile(arrays, executor.new_outputs())
            times: list[StepTime] = []
            self._dynamic_runner().run(dict(zip(self._graph.inputs, arrays, strict=True)), times)
            return times

    def close(self) -> None:
        """End the worker threads and free the plans; the session cannot run afterwards."""
        with self._lock:
            self._closed = True
            self._executors.clear()
            self._waiting.clear()
            self._dynamic = None
            if self._team is not None:
                self._team.close()
                self._team = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        team = getattr(self, "_team", None)
        if team is not None:
            team.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("the session is closed")

    def _checked(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The inputs in order as contiguous arrays of the right dtypes; shapes are checked by planning."""
        if feeds.keys() != self._wanted.keys():
            raise self._name_error(feeds)
        arrays = []
        for name, (wanted, dtype) in self._wanted.items():
            array = np.asarray(feeds[name])
            if array.dtype != dtype:
                raise InputError(
                    f"input '{name}' must be {wanted.value}, got {array.dtype}: "
                    f"convert it with .astype('{wanted.value}')"
                )
            arrays.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
        return arrays

    def _name_error(self, feeds: Mapping[str, np.ndarray]) -> InputError:
        unknown = [name for name in feeds if name not in self._wanted]
        missing = [name for name in self._wanted if name not in feeds]
        return InputError(
            f"the inputs are {self._graph.inputs}"
            + (f"; missing {missing}" if missing else "")
            + (f"; there is no {unknown}" if unknown else "")
        )

    def _executor(self, arrays: list[np.ndarray]) -> Executor | None:
        """The executor for the shapes of the inputs, planned if it is not among the recent ones.

        None if shapes inside the model depend on data.
        """
        self._check_open()
        key = tuple(array.shape for array in arrays)
        if key not in self._executors:
            try:
                plan = self._waiting.pop(key, None)
                if plan is None:
                    plan = self._plan(dict(zip(self._graph.inputs, key, strict=True)))
                self._executors[key] = self._make_executor(plan)
            except DynamicShapeError:
                self._executors[key] = None
            if len(self._executors) > RECENT_PLANS:
                self._executors.popitem(last=False)
        self._executors.move_to_end(key)
        return self._executors[key]

    def _dynamic_runner(self) -> DynamicRunner:
        if self._dynamic is None:
            # Few models need it, and every import takes its time at the first run.
            from edgeinfer.runtime.dynamic import DynamicRunner

            self._dynamic = DynamicRunner(self._graph, self._plan_region, self._make_executor)
        return self._dynamic

    def _make_executor(self, plan: Plan) -> Executor:
        native = any(True for _ in plan.native_steps())
        return Executor(plan, self._kernels, self._workers() if native else self._team)

    def _workers(self) -> WorkerTeam:
        if self._team is None:
            run_tape, worker_loop = self._kernels.entry("run_tape"), self._kernels.entry("worker_loop")
            self._team = WorkerTeam(self.threads, run_tape, worker_loop)
        return self._team

    def _pack(self, packings: Sequence[tuple[Packing, np.ndarray]]) -> None:
        pack_by_kernels(packings, self._kernels, self._workers())

    def _plan_region(self, static: Graph, weights: WeightBlock) -> Plan:
        return plan_static(static, self._kernels.kernel_set, self.threads, weights, self._precision, packer=self._pack)
