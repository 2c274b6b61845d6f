"""Dimensions of shapes: integers, or names and expressions that are known only when inputs are.

A symbolic dimension is a string: a name such as ``"h"`` or an expression over names such as
``"(h + 2)//2"``. Two dimensions are taken to be equal only if they are written the same.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable

Dim = int | str
Shape = tuple[Dim, ...]

_counter = itertools.count()


def is_static(shape: Iterable[Dim] | None) -> bool:
    """Whether every dimension is a known integer; an unknown rank (None) is not static."""
    return shape is not None and all(isinstance(dim, int) for dim in shape)


def unknown_dim() -> str:
    """A fresh name for a dimension of which nothing is known."""
    return f"unknown_{next(_counter)}"


@functools.lru_cache(maxsize=4096)
def _operand(dim: Dim) -> str:
    text = str(dim)
    return text if re.fullmatch(r"[\w.]+", text) else f"({text})"


def add(left: Dim, right: Dim) -> Dim:
    """``left + right``."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    if left == 0:
        return right
    if isinstance(left, int):
        left, right = right, left
    if isinstance(right, int):
        stem, constant = _split_constant(str(left))
        total = constant + right
        if total == 0:
            return stem
        return f"{_operand(stem)} {'+' if total > 0 else '-'} {abs(total)}"
    return f"{_operand(left)} + {_operand(right)}"


@functools.lru_cache(maxsize=4096)
def _split_constant(text: str) -> tuple[str, int]:
    """An expression that ends in ``+ n`` or ``- n`` as what stands before and n."""
    found = re.fullmatch(r"(\(.*\)|\w+) ([+-]) (\d+)", text)
    if not found:
        return text, 0
    stem = found[1]
    if stem.startswith("(") and not _is_one_group(stem):
        return text, 0
    number = int(found[3])
    return (stem[1:-1] if stem.startswith("(") else stem), number if found[2] == "+" else -number


def _is_one_group(text: str) -> bool:
    """Whether the first bracket closes with the last character."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def multiply(left: Dim, right: Dim) -> Dim:
    """``left * right``."""
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if left == 0 or right == 0:
        return 0
    if left == 1:
        return right
    if right == 1:
        return left
    return f"{_operand(left)}*{_operand(right)}"


def floor_divide(left: Dim, right: Dim) -> Dim:
    """``floor(left / right)``."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if right == 1:
        return left
    return f"{_operand(left)}//{_operand(right)}"


def ceil_divide(left: Dim, right: Dim) -> Dim:
    """``ceil(left / right)``."""
    if isinstance(left, int) and isinstance(right, int):
        return -(-left // right)
    if right == 1:
        return left
    return f"ceil({_operand(left)}/{_operand(right)})"


def product(dims: Iterable[Dim]) -> Dim:
    """The product of all dimensions, 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = multiply(result, dim)
    return result
