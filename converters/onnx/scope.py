"""One graph of a model while it is imported: what it and the graphs around it say of names, types and constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import DType, Graph, TensorType


class NameMaker:
    """Makes names that are not taken yet."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def fresh(self, stem: str) -> str:
        """``stem``, else ``stem_1``, ``stem_2``, …; the name is taken from now on."""
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name


@dataclass
class Scope:
    """A graph that is being built, and what may be asked of its values.

    Attributes:
        graph: the graph.
        names: makes names of values, unique in the whole model.
        inferred: types of all values by ONNX's own shape inference; called only when the model does not tell.
        outer: the scope of the graph around this one, if it is a body.
    """

    graph: Graph
    names: NameMaker
    inferred: Callable[[], Mapping[str, TensorType]]
    outer: Scope | None = None

    def constant(self, name: str) -> np.ndarray | None:
        """The contents of a constant of this graph or one around it, None for other values."""
        found = self.graph.constants.get(name)
        return found if found is not None or self.outer is None else self.outer.constant(name)

    def dtype(self, name: str) -> DType:
        """The dtype of a value, float32 if nothing tells."""
        known = self._declared(name) or self.inferred().get(name)
        return known.dtype if known else DType.FLOAT32

    def rank(self, name: str) -> int | None:
        """The number of dimensions of a value, None if nothing tells."""
        declared = self._declared(name)
        if declared is not None and declared.rank is not None:
            return declared.rank
        known = self.inferred().get(name)
        return known.rank if known else None

    def add_constant(self, stem: str, array: np.ndarray, dtype: DType | None = None) -> str:
        """Add a constant under a fresh name derived from ``stem``; returns the name it got."""
        name = self.names.fresh(stem)
        self.set_constant(name, array, dtype or DType.of(array))
        return name

    def set_constant(self, name: str, array: np.ndarray, dtype: DType) -> None:
        """Add a constant of the model itself."""
        self.graph.constants[name] = array
        self.graph.types[name] = TensorType(dtype, tuple(array.shape))

    def _declared(self, name: str) -> TensorType | None:
        found = self.graph.types.get(name)
        return found if found is not None or self.outer is None else self.outer._declared(name)
