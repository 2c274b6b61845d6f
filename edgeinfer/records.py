"""Copies of records with some of their fields changed.

Graphs, nodes and what comes with them are plain classes: each made by ``dataclasses`` costs half a millisecond, and the
module two more, every time that a program starts.
"""

from __future__ import annotations

from typing import Any, TypeVar

Record = TypeVar("Record")


def altered(record: Record, **changes: Any) -> Record:
    """A copy of a record with other values in some fields, as ``copy.replace`` of Python 3.13 makes it.

    Args:
        record: an object whose attributes are the parameters of its class.
        changes: new values by field; the others are shared with ``record``.

    Raises:
        TypeError: if there is no such field.
    """
    return type(record)(**{**vars(record), **changes})
