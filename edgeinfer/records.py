"""Records that cost little when a program starts, and copies of records with some of their fields changed.

Every class that ``dataclasses`` makes takes half a millisecond when a program starts, and the module two more; every
one of ``typing.NamedTuple`` takes a third of one. Loading and planning a model needs thirty. Graphs, nodes and what
comes with them are therefore plain classes, and tuples with named fields are made here, in a tenth of that time.
"""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

Record = TypeVar("Record")

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    try:
        # What ``collections.namedtuple`` reads its fields by; it does without where there is none, too.
        from _collections import _tuplegetter as field_getter
    except ImportError:

        def field_getter(index: int, doc: str) -> property:
            """A property with one item of a tuple."""
            return property(itemgetter(index), doc=doc)

    class _FieldsToProperties(type):
        """Makes a subclass of ``NamedTuple`` out of its annotations, in their order."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace[field] for field in fields if field in namespace}
            properties = {field: field_getter(index, field) for index, field in enumerate(fields)}
            last = reversed(list(itertools.takewhile(defaults.__contains__, fields[::-1])))
            own = {
                "__slots__": (), "_fields": fields, "_field_defaults": defaults,
                "_last_defaults": tuple(map(defaults.__getitem__, last)),
            }  # fmt: skip
            return super().__new__(cls, name, bases, {**namespace, **own, **properties})

    class NamedTuple(tuple, metaclass=_FieldsToProperties):
        """As ``typing.NamedTuple``: a tuple whose fields are the annotations of a class, which may have defaults."""

        __slots__ = ()

        def __new__(cls, *values: Any, **named: Any) -> NamedTuple:
            """Make one out of values by place, then by name."""
            missing = len(cls._fields) - len(values)
            if named or not 0 <= missing <= len(cls._last_defaults):
                values = cls._complete(values, named)
            elif missing:
                values += cls._last_defaults[-missing:]
            return tuple.__new__(cls, values)

        @classmethod
        def _complete(cls, values: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
            """One value for each field."""
            rest = cls._fields[len(values) :]
            if len(values) > len(cls._fields) or not named.keys() <= set(rest):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}, each once")
            given = {**cls._field_defaults, **named}
            if missing := [field for field in rest if field not in given]:
                raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
            return [*values, *[given[field] for field in rest]]

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **changes: Any) -> NamedTuple:
            cls = type(self)
            values = [changes.pop(field, value) for field, value in zip(cls._fields, self, strict=True)]
            if changes:
                raise TypeError(f"{cls.__name__} has no {', '.join(changes)}")
            return tuple.__new__(cls, values)


def altered(record: Record, **changes: Any) -> Record:
    """A copy of a record with other values in some fields, as ``copy.replace`` of Python 3.13 makes it.

    Args:
        record: an object whose attributes are the parameters of its class.
        changes: new values by field; the others are shared with ``record``.

    Raises:
        TypeError: if there is no such field.
    """
    return type(record)(**{**vars(record), **changes})
