"""The inputs and outputs of whatever runs a model."""

from __future__ import annotations

from edgeinfer.graph import DType, Shape
from edgeinfer.records import NamedTuple


class Port(NamedTuple):
    """An input or output: its name, dtype, and shape with integers and symbolic dimensions (None: rank unknown)."""

    name: str
    dtype: DType
    shape: Shape | None
