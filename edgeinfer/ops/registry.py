"""The registry of operators: for each its shape inference and its NumPy reference.

A reference is a plain function whose signature is the operator's schema: positional parameters are
the inputs (``None`` for one left out), keyword-only parameters the attributes with ONNX's defaults.
Two keyword-only names are reserved: ``output_count`` receives the number of outputs of the node, and
``run_graph`` a function ``(body, {name: array}) -> list[array]`` for operators that hold bodies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeinfer.errors import ShapeError
from edgeinfer.graph import ONNX, DType, Node, Shape, TensorType

RESERVED = ("output_count", "run_graph")

Reference = Callable[..., Any]


@dataclass
class Inference:
    """What shape inference may know of one node.

    Attributes:
        node: the node.
        inputs: types of its inputs; None for an optional input left out, or one of unknown type.
        constants: contents of those inputs that are known, by position.
    """

    node: Node
    inputs: list[TensorType | None]
    constants: dict[int, np.ndarray] = field(default_factory=dict)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or the default if the node does not carry it."""
        return self.node.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether input ``index`` is present."""
        return bool(self.node.input(index))

    def type(self, index: int) -> TensorType:
        """The type of input ``index``, which must be present and of known dtype."""
        known = self.inputs[index] if index < len(self.inputs) else None
        if known is None:
            raise self.error(f"input {index} is missing or of unknown type")
        return known

    def dtype(self, index: int = 0) -> DType:
        """The dtype of input ``index``."""
        return self.type(index).dtype

    def shape(self, index: int = 0) -> Shape | None:
        """The shape of input ``index``, None if its rank is unknown."""
        return self.type(index).shape

    def constant(self, index: int) -> np.ndarray | None:
        """The contents of input ``index`` if they are known."""
        return self.constants.get(index)

    def error(self, message: str) -> ShapeError:
        """An error that names this node, to be raised by the caller."""
        return ShapeError(f"{self.node}: {message}")


Infer = Callable[[Inference], Sequence[TensorType]]


@dataclass(frozen=True)
class Operator:
    """One operator of one domain: reference, shape inference, known attributes."""

    domain: str
    name: str
    reference: Reference
    infer: Infer
    attributes: frozenset[str]
    reserved: frozenset[str]

    def unknown_attributes(self, node: Node) -> list[str]:
        """Names of attributes of a node that this operator does not know."""
        return sorted(set(node.attributes) - self.attributes)


_OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(name: str, infer: Infer, domain: str = ONNX) -> Callable[[Reference], Reference]:
    """Register the decorated reference function as operator ``name`` with its shape inference."""

    def register(reference: Reference) -> Reference:
        keywords = {
            parameter.name
            for parameter in inspect.signature(reference).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        key = (domain, name)
        if key in _OPERATORS:
            raise ValueError(f"operator {key} is registered twice")
        _OPERATORS[key] = Operator(
            domain, name, reference, infer, frozenset(keywords - set(RESERVED)), frozenset(keywords & set(RESERVED))
        )
        return reference

    return register


def find_operator(key: tuple[str, str]) -> Operator | None:
    """The operator of a (domain, name) key, None if there is none."""
    return _OPERATORS.get(key)


def operators() -> dict[tuple[str, str], Operator]:
    """All registered operators by (domain, name)."""
    return dict(_OPERATORS)


def same_as_first(inference: Inference) -> list[TensorType]:
    """Shape inference of operators whose output is like their first input."""
    return [inference.type(0)]
