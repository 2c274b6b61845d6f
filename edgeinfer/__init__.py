"""edgeinfer: a small, fast neural-network runtime for CPUs.

``load`` gives a session that runs a model, ``convert`` turns an ONNX model into a graph, ``graph.save`` writes
it as an ``.edge`` file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from edgeinfer.graph import Graph
    from edgeinfer.runtime.bundle import BundleSession
    from edgeinfer.runtime.session import Session

__version__ = "0.1.0"

# Public names by the module that defines them, imported when they are first asked for.
_LAZY = {
    "BundleSession": "edgeinfer.runtime.bundle",
    "DType": "edgeinfer.graph",
    "EdgeInferError": "edgeinfer.errors",
    "Graph": "edgeinfer.graph",
    "Session": "edgeinfer.runtime.session",
}

__all__ = ["BundleSession", "DType", "EdgeInferError", "Graph", "Session", "convert", "load"]


def load(path: str | Path, threads: int | str = "auto", precision: str = "float32") -> Session | BundleSession:
    """Load a model for running on this machine.

    Args:
        path: an ``.edge`` file; an ``.onnx`` file, which is converted first (needs the extra ``convert``); or a bundle,
            the ``.so`` file that ``edgeinfer export`` writes, whose precision is fixed.
        threads: number of threads, or ``"auto"`` for as many as the process may use.
        precision: ``"float32"``, ``"bfloat16"`` for products in convolutions, or ``"float16"``; see ``Session``.

    Raises:
        PlanError: if this machine has no kernels of that precision.
        FormatError: if the file is missing or damaged.
        ConversionError: if an ONNX file cannot be converted.
        KernelError: if there are no kernels for this machine and no compiler.
    """
    # A bundle needs none of what plans and runs a graph.
    if str(path).endswith(".so"):
        from edgeinfer.runtime.bundle import BundleSession

        return BundleSession(path, threads)
    from edgeinfer.format import read_edge
    from edgeinfer.runtime.session import Session

    graph = convert(path) if str(path).endswith(".onnx") else read_edge(path, ahead=True)
    return Session(graph, threads=threads, precision=precision)


def convert(model: Any) -> Graph:
    """Convert an ONNX model (a path or a ``ModelProto``) to an optimised graph; needs the extra ``convert``.

    Raises:
        ConversionError: if the model cannot be read, or uses operators that edgeinfer does not know.
    """
    from edgeinfer.errors import ConversionError

    try:
        # The converters lie above the runtime, which must work without them.
        converters = importlib.import_module("converters")
        importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        raise ConversionError(
            f"converting needs the package '{error.name}': pip install 'edgeinfer[convert]'"
        ) from error
    graph: Graph = converters.convert(model)[0]
    return graph


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'edgeinfer' has no attribute '{name}'")
