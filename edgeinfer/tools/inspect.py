"""What is in a model, and what a plan for given shapes looks like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeinfer.errors import InputError
from edgeinfer.graph import DType, Graph
from edgeinfer.passes import count_operators
from edgeinfer.runtime.port import Port
from edgeinfer.runtime.session import Session

# Elements of one input; more is a mistake, and would occupy the planner for minutes.
LARGEST_INPUT = 2**32


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Shapes from texts such as ``image=1x3x360x640``.

    Raises:
        InputError: if a text is not of this form.
    """
    shapes = {}
    for text in texts:
        name, separator, dims = text.partition("=")
        try:
            shape = tuple(int(dim) for dim in dims.split("x")) if dims else ()
        except ValueError:
            shape = (-1,)
        if not separator or not name or any(dim < 0 for dim in shape):
            raise InputError(f"'{text}' is not a shape: write NAME=1x3x360x640")
        if math.prod(shape) > LARGEST_INPUT:
            raise InputError(f"'{text}' is too large: an input may have up to {LARGEST_INPUT:,} elements")
        if name in shapes:
            raise InputError(f"the shape of input '{name}' is given twice")
        shapes[name] = shape
    return shapes


def default_shapes(ports: Sequence[Port], given: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """A shape for every input: the given one, else the declared one with pictures of 256 and 1 elsewhere."""
    names = [port.name for port in ports]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InputError(f"there is no input {unknown}; the inputs are {names}")
    shapes = {}
    for port in ports:
        name, declared = port.name, port.shape
        if name in given:
            shapes[name] = given[name]
        elif declared is None:
            raise InputError(f"the rank of input '{name}' is not known: give it with --shape {name}=…")
        else:
            picture = len(declared) == 4
            shapes[name] = tuple(
                dim if isinstance(dim, int) else 256 if picture and axis >= 2 else 1
                for axis, dim in enumerate(declared)
            )
    return shapes


def describe(graph: Graph, path: Path | None, shapes: Mapping[str, tuple[int, ...]] | None) -> dict[str, Any]:
    """Everything that ``edgeinfer inspect`` shows, as plain JSON values.

    Args:
        graph: the model.
        path: its file, for the size.
        shapes: input shapes to plan for; those left out are chosen. None: no plan.
    """
    with Session(graph, threads=1) as session:
        result: dict[str, Any] = {
            "name": graph.name,
            "inputs": [_port(port.name, port.dtype, port.shape) for port in session.inputs],
            "outputs": [_port(port.name, port.dtype, port.shape) for port in session.outputs],
            "operators": count_operators(graph),
            "parameters": sum(array.size for array in graph.constants.values() if array.dtype.kind == "f"),
            "file_bytes": path.stat().st_size if path else None,
            "metadata": graph.metadata,
        }
        if shapes is None:
            return result
        chosen = default_shapes(session.inputs, shapes)
        plan = session.plan(chosen)
    result["plan"] = {
        "shapes": {name: list(shape) for name, shape in chosen.items()},
        "macs": plan.macs,
        "arena_bytes": plan.arena_bytes,
        "activation_bytes": plan.activation_bytes,
        "lower_bound_bytes": plan.lower_bound,
        "weight_bytes": int(plan.weights.data.nbytes),
        "native_steps": sum(1 for _ in plan.native_steps()),
        "kernels": plan.kernel_names(),
        "host_steps": [{"node": s.node.name, "op": s.node.op, "reason": s.reason} for s in plan.host_steps()],
    }
    return result


def _port(name: str, dtype: DType, shape: Any) -> dict[str, Any]:
    return {"name": name, "dtype": dtype.value, "shape": None if shape is None else list(shape)}


def shape_text(shape: list[Any] | None) -> str:
    """A shape as people write it: ``1x3xhxw``."""
    return "unknown rank" if shape is None else "x".join(str(dim) for dim in shape) or "scalar"
