"""Converters from the formats of other frameworks to edgeinfer's graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.graph import Graph
from edgeinfer.passes import DEFAULT_PASSES, PassReport, run_passes

if TYPE_CHECKING:
    import onnx


def convert(model: str | Path | onnx.ModelProto) -> tuple[Graph, PassReport]:
    """Import an ONNX model and optimise its graph.

    Args:
        model: path of an ``.onnx`` file, or a model in memory.

    Returns:
        The graph, and a report of what was fused and what was not.

    Raises:
        ConversionError: if the model cannot be read or uses what edgeinfer does not know.
    """
    from converters.onnx import import_model

    return run_passes(import_model(model), DEFAULT_PASSES)
