"""Functions that kernels call rather than contain, so that a library of many kernels holds them once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

_SHARED: list[Any] = []


def shared(function: Callable[..., Any]) -> Any:
    """Decorates a function that is long beside what its callers do at each call: a row of pixels, not a vector.

    It may call nothing but functions that are compiled into it.
    """
    # Numba hands ``forceinline`` of a caller down to all that do not say otherwise.
    dispatcher = njit(error_model="numpy", forceinline=False)(function)
    _SHARED.append(dispatcher)
    return dispatcher


def shared_symbols() -> set[str]:
    """Numba's names, in LLVM's IR, of the shared functions that were compiled so far."""
    return {overload.fndesc.mangled_name for function in _SHARED for overload in function.overloads.values()}
