"""Tuples with named fields behave as those of ``typing``, and copies change what they are told."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from edgeinfer.records import NamedTuple, altered


class Size(NamedTuple):
    """Two fields, one with a default."""

    width: int
    height: int = 3

    @property
    def area(self) -> int:
        """Computed from both."""
        return self.width * self.height


def test_fields_are_given_by_place_or_by_name() -> None:
    assert Size(2) == Size(2, 3) == Size(width=2) == Size(height=3, width=2) == (2, 3)
    assert (Size(2).width, Size(2).height, Size(2).area) == (2, 3, 6)
    assert repr(Size(2)) == "Size(width=2, height=3)"
    assert hash(Size(2)) == hash((2, 3))


@pytest.mark.parametrize("values, named", [((), {}), ((1, 2, 3), {}), ((1,), {"width": 1}), ((1,), {"depth": 1})])
def test_wrong_fields_are_refused(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="Size .*width"):
        Size(*values, **named)


def test_a_tuple_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Size(2).width = 4  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Size(2).depth = 4  # type: ignore[attr-defined]


def test_copies_change_the_fields_that_are_named() -> None:
    size = Size(2)
    assert size._replace(height=5) == Size(2, 5)
    assert size == (2, 3)
    assert pickle.loads(pickle.dumps(size)) == size
    assert type(pickle.loads(pickle.dumps(size))) is Size
    with pytest.raises(TypeError, match="has no depth"):
        size._replace(depth=1)  # type: ignore[call-arg]


def test_altered_copies_other_records() -> None:
    class Plain:
        def __init__(self, a: int, b: int) -> None:
            self.a, self.b = a, b

    changed = altered(Plain(1, 2), b=3)
    assert (changed.a, changed.b) == (1, 3)
    with pytest.raises(TypeError):
        altered(Plain(1, 2), c=3)
