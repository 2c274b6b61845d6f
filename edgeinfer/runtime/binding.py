"""Running again and again on fixed arrays, without any copy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.runtime.executor import Executor


class Binding:
    """A session with fixed input and output arrays; ``run`` allocates nothing.

    Args:
        executor: the plan for the arrays' shapes, with its memory.
        inputs: contiguous arrays in the plan's order.
        outputs: arrays that ``check_outputs`` accepts.
        lock: held during every run of the session.
        check_open: raises if the session is closed.
    """

    def __init__(
        self,
        executor: Executor,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        lock: threading.Lock,
        check_open: Callable[[], None],
    ) -> None:
        self._executor = executor
        self._inputs = inputs
        self._outputs = outputs
        self._lock = lock
        self._check_open = check_open

    def run(self) -> None:
        """Compute the bound outputs from what the bound inputs hold now."""
        with self._lock:
            self._check_open()
            self._executor.run(self._inputs, self._outputs)


def check_bindable(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
    """Check that there is an array without gaps for every name, and no other.

    Raises:
        InputError: naming what is missing, unknown, no array or not C-contiguous.
    """
    unknown = [name for name in arrays if name not in names]
    missing = [name for name in names if name not in arrays]
    if unknown or missing:
        raise InputError(f"bind takes exactly {list(names)}; missing {missing}, unknown {unknown}")
    for name in names:
        if not isinstance(arrays[name], np.ndarray):
            raise InputError(f"'{name}' must be a NumPy array to be bound, got {type(arrays[name]).__name__}")
        if not arrays[name].flags.c_contiguous:
            raise InputError(f"'{name}' is not C-contiguous; bind cannot copy: use numpy.ascontiguousarray")


def check_outputs(executor: Executor, arrays: Mapping[str, np.ndarray], outputs: Sequence[str]) -> None:
    """Check that outputs can be written into contiguous arrays without spoiling another bound array.

    Raises:
        InputError: naming the output of wrong dtype or shape, or that is read-only or shares memory.
    """
    for name, wanted in zip(outputs, executor.new_outputs(), strict=True):
        array = arrays[name]
        if array.shape != wanted.shape or array.dtype != wanted.dtype:
            raise InputError(
                f"output '{name}' must be {wanted.dtype}{list(wanted.shape)}, got {array.dtype}{list(array.shape)}"
            )
        if not array.flags.writeable:
            raise InputError(f"output '{name}' is read-only")
        # Arrays without gaps share memory exactly if their bounds overlap.
        shared = [other for other in arrays if other != name and np.may_share_memory(array, arrays[other])]
        if shared:
            raise InputError(f"output '{name}' shares memory with '{shared[0]}'; bind an array of its own")
