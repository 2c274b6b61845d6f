"""The intermediate representation: a graph of ONNX operators over named values.

Names, attributes and semantics are those of ONNX at opset ``OPSET``; the importer upgrades older
models. Fused operators live beside them in the domain ``FUSED``. Values are named by strings; each
is an input of the graph, a constant, or an output of exactly one node (static single assignment).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.graph.dims import Shape, is_static
from edgeinfer.graph.dtypes import DType
from edgeinfer.records import NamedTuple, altered

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 23
ONNX = ""
FUSED = "edgeinfer"


class TensorType(NamedTuple):
    """What is known of a value: its dtype and its shape (None: not even the rank is known)."""

    dtype: DType
    shape: Shape | None

    @property
    def rank(self) -> int | None:
        """Number of dimensions, None if unknown."""
        return None if self.shape is None else len(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a known integer."""
        return is_static(self.shape)

    def __str__(self) -> str:
        dims = "?" if self.shape is None else "x".join(str(dim).replace(" ", "") for dim in self.shape)
        return f"{self.dtype.value}[{dims}]"


class Node:
    """One operator.

    Attributes:
        op: operator name, such as ``Conv``.
        inputs: names of the values read; ``""`` stands for an optional input left out.
        outputs: names of the values made; ``""`` for an optional output left out.
        attributes: int, float, str, lists of these, ``np.ndarray`` for tensors, ``Graph`` for bodies.
        name: unique name, for messages and profiles.
        domain: ``ONNX`` or ``FUSED``.
    """

    def __init__(
        self,
        op: str,
        inputs: list[str],
        outputs: list[str],
        attributes: dict[str, Any] | None = None,
        name: str = "",
        domain: str = ONNX,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.outputs = outputs
        self.attributes = {} if attributes is None else attributes
        self.name = name
        self.domain = domain

    @property
    def key(self) -> tuple[str, str]:
        """Domain and operator name, by which registries know it."""
        return self.domain, self.op

    def input(self, index: int) -> str:
        """The name of input ``index``, ``""`` if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def __str__(self) -> str:
        prefix = f"{self.domain}." if self.domain else ""
        return f"{prefix}{self.op} '{self.name}'"


class Graph:
    """Nodes in topological order, with the types of their values and the constants they read.

    Attributes:
        name: the model's name.
        inputs: names of the inputs, in order.
        outputs: names of the outputs, in order.
        nodes: in topological order: each reads only inputs, constants and outputs of earlier nodes.
        types: type of each value as far as it is known; inputs and constants always have one.
        constants: weights and other constants by name.
        metadata: free text of the model (producer, licence, …).
    """

    def __init__(
        self,
        name: str = "",
        inputs: list[str] | None = None,
        outputs: list[str] | None = None,
        nodes: list[Node] | None = None,
        types: dict[str, TensorType] | None = None,
        constants: dict[str, np.ndarray] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.inputs = [] if inputs is None else inputs
        self.outputs = [] if outputs is None else outputs
        self.nodes = [] if nodes is None else nodes
        self.types = {} if types is None else types
        self.constants = {} if constants is None else constants
        self.metadata = {} if metadata is None else metadata

    def add_constant(self, name: str, array: np.ndarray, dtype: DType | None = None) -> str:
        """Add a constant under a fresh name derived from ``name``; returns the name it got."""
        name = self.fresh_name(name)
        self.constants[name] = array
        self.types[name] = TensorType(dtype or DType.of(array), tuple(array.shape))
        return name

    def fresh_name(self, stem: str) -> str:
        """A value name that is not taken: ``stem``, else ``stem_1``, ``stem_2`` and so on."""
        taken = self.value_names()
        if stem not in taken:
            return stem
        number = 1
        while f"{stem}_{number}" in taken:
            number += 1
        return f"{stem}_{number}"

    def value_names(self) -> set[str]:
        """Names of all values that are defined or typed."""
        names = set(self.inputs) | self.constants.keys() | self.types.keys()
        for node in self.nodes:
            names.update(node.outputs)
        return names

    def save(self, path: str | Path) -> None:
        """Write the graph as an ``.edge`` file; see ``edgeinfer.format.write_edge``."""
        # The format knows graphs, not the other way round: found by name, so that the arrow keeps its direction.
        importlib.import_module("edgeinfer.format").write_edge(self, path)

    def copy(self) -> Graph:
        """A copy whose lists and dictionaries may be changed freely; constant arrays are shared."""
        return Graph(
            self.name,
            list(self.inputs),
            list(self.outputs),
            [
                altered(node, inputs=list(node.inputs), outputs=list(node.outputs), attributes=dict(node.attributes))
                for node in self.nodes
            ],
            dict(self.types),
            dict(self.constants),
            dict(self.metadata),
        )
