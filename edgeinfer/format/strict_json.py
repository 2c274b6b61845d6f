"""JSON that leaves no room for surprises: unique names, finite and bounded numbers, text that is valid Unicode."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from edgeinfer.errors import FormatError

# Longest number that is read; a float64 needs 24 characters, a 64-bit integer 20.
MAX_NUMBER = 32


def dump_json(value: Any) -> bytes:
    """The one spelling of a JSON value: UTF-8, no white space, names in the order in which they are held.

    Raises:
        FormatError: if a number is not finite or a text is not valid Unicode.
    """
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise FormatError(f"this cannot be stored as JSON: {error}") from error


def parse_json(text: bytes | str, what: str) -> Any:
    """Parse strict JSON.

    Args:
        text: the JSON, UTF-8 if it is bytes.
        what: what it is, for messages.

    Raises:
        FormatError: if it is not JSON, is nested too deeply, repeats a name, or holds a number that is not finite or
            longer than ``MAX_NUMBER`` characters.
    """

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in names if names.count(name) > 1)
            raise FormatError(f"{what} holds the name {repeated!r} twice")
        return result

    def bounded(number: str) -> str:
        if len(number) > MAX_NUMBER:
            raise FormatError(f"{what} holds a number of {len(number)} digits")
        return number

    def finite(number: str) -> float:
        value = float(bounded(number))
        if not math.isfinite(value):
            raise FormatError(f"{what} holds {number}, which is too large")
        return value

    def no_constant(constant: str) -> Any:
        raise FormatError(f"{what} holds {constant}, which is not JSON")

    try:
        return json.loads(
            text,
            object_pairs_hook=unique,
            parse_int=lambda number: int(bounded(number)),
            parse_float=finite,
            parse_constant=no_constant,
        )
    except RecursionError as error:
        raise FormatError(f"{what} is not valid JSON: it is nested too deeply") from error
    except ValueError as error:
        raise FormatError(f"{what} is not valid JSON: {error}") from error


def check_text(value: Any, what: str) -> str:
    """The value if it is a text of valid Unicode.

    Raises:
        FormatError: otherwise; a lone surrogate, which JSON can spell, could not even be printed.
    """
    if not isinstance(value, str):
        raise FormatError(f"{what} should be a text, found {value!r:.60}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FormatError(f"{what} is not valid Unicode: {value!a:.60}") from error
    return value
