"""Running a bundle, the shared library that ``edgeinfer export`` writes, from Python."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.bundle_abi import BUNDLE_ABI, INFO_MARK, BundleStatus
from edgeinfer.errors import FormatError, InputError, KernelError
from edgeinfer.graph import DType
from edgeinfer.plan.memory import aligned_block
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.placement import WorkerPlacement
from edgeinfer.runtime.port import Port
from edgeinfer.runtime.threads import resolve_threads
from edgeinfer.sealed_file import read_sealed

if TYPE_CHECKING:
    from pathlib import Path


class _Instance:
    """The C functions of a bundle, one block of memory, and the threads that work on it."""

    def __init__(self, library: ctypes.CDLL, name: str, threads: int) -> None:
        self._library, self._name, self._threads = library, name, threads
        self._run = self._function("run", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        self._work = self._function("work", ctypes.c_void_p, ctypes.c_int)
        self._stop = self._function("stop", ctypes.c_void_p)
        self._init = self._function("init", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        memory_size = self._function("memory_size", ctypes.c_int)
        memory_size.restype = ctypes.c_size_t
        self._block = aligned_block(memory_size(threads))
        self._address = self._block.ctypes.data
        self._start()

    def _function(self, verb: str, *arguments: Any) -> Any:
        function = self._library[f"{self._name}_{verb}"]
        function.argtypes, function.restype = arguments, ctypes.c_int
        return function

    def _start(self) -> None:
        self._process = os.getpid()
        self._check("init", self._init(self._address, self._block.nbytes, self._threads))
        self._workers = [
            threading.Thread(
                target=self._work, args=(self._address, index), name=f"{self._name}-worker-{index}", daemon=True
            )
            for index in range(1, self._threads)
        ]
        for worker in self._workers:
            worker.start()
        self._placement = WorkerPlacement([worker.native_id or 0 for worker in self._workers])

    def _check(self, verb: str, status: int) -> None:
        if status:
            raise KernelError(f"{self._name}_{verb} failed: {BundleStatus(status).name}")

    def run(self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """Compute the outputs in place."""
        # The worker threads do not exist in a forked process.
        if os.getpid() != self._process:
            self._start()
        self._placement.update()
        self._check("run", self._run(self._address, _addresses(inputs), _addresses(outputs)))

    def close(self) -> None:
        """Let the workers end and wait for them."""
        if os.getpid() == self._process:
            self._stop(self._address)
            for worker in self._workers:
                worker.join()


class BundleSession:
    """A bundle ready to run: like ``Session``, for the shapes that it was made for.

    Args:
        path: the shared library.
        threads: number of workers, or ``"auto"``.

    Raises:
        FormatError: if the file is missing, damaged, no bundle, or of another version.
        KernelError: if it was made for another CPU.
    """

    def __init__(self, path: str | Path, threads: int | str = "auto") -> None:
        self.threads = resolve_threads(threads)
        description = _read_description(path)
        self.name = str(description["name"])
        self.inputs = [_port(port) for port in description["inputs"]]
        self.outputs = [_port(port) for port in description["outputs"]]
        try:
            library = ctypes.CDLL(os.path.realpath(path))
        except OSError as error:
            raise KernelError(f"cannot load {path}: {error}") from error
        self._lock = threading.Lock()
        self._instance = _Instance(library, self.name, self.threads)
        # Runs when the session is collected, and before the interpreter ends: workers must not outlive their memory.
        self._end = weakref.finalize(self, self._instance.close)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model.

        Args:
            feeds: an array for every input.

        Returns:
            New arrays, one for each output.

        Raises:
            InputError: for an unknown or missing input, a wrong dtype or shape, or a closed session.
        """
        arrays = self._checked(feeds)
        outputs = [np.empty(_shape(port), port.dtype.numpy) for port in self.outputs]
        with self._lock:
            if not self._end.alive:
                raise InputError("the session is closed")
            self._instance.run(arrays, outputs)
        return {port.name: array for port, array in zip(self.outputs, outputs, strict=True)}

    def __call__(self, *arrays: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Run with the inputs in order; returns the output, or a list if there are several."""
        names = [port.name for port in self.inputs]
        if len(arrays) != len(names):
            raise InputError(f"the model takes {len(names)} inputs {names}, got {len(arrays)}")
        results = list(self.run(dict(zip(names, arrays, strict=True))).values())
        return results[0] if len(results) == 1 else results

    def _checked(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The inputs in order as contiguous arrays."""
        names = [port.name for port in self.inputs]
        if feeds.keys() != set(names):
            raise InputError(f"the inputs are {names}, got {list(feeds)}")
        arrays = []
        for port in self.inputs:
            array = np.asarray(feeds[port.name])
            if array.dtype != port.dtype.numpy or array.shape != _shape(port):
                raise InputError(
                    f"input '{port.name}' of this bundle is {port.dtype.value}{list(_shape(port))}, "
                    f"got {array.dtype}{list(array.shape)}"
                )
            arrays.append(np.ascontiguousarray(array))
        return arrays

    def close(self) -> None:
        """End the worker threads; the session cannot run afterwards."""
        with self._lock:
            self._end()

    def __enter__(self) -> BundleSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _shape(port: Port) -> tuple[int, ...]:
    return tuple(int(dim) for dim in port.shape or ())


def _port(row: Mapping[str, Any]) -> Port:
    return Port(row["name"], DType(row["dtype"]), tuple(row["shape"]))


def _addresses(arrays: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def _read_description(path: str | Path) -> dict[str, Any]:
    """What a bundle says of itself; read before anything of it is executed.

    Raises:
        FormatError: if the file is missing, damaged, no bundle, or of another version.
        KernelError: if it was made for another CPU.
    """
    try:
        content = read_sealed(path)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror}") from error
    start = content.find(INFO_MARK) if content is not None else -1
    if content is None or start < 0:
        raise FormatError(
            f"{path} is damaged, or no bundle: only the file that 'edgeinfer export' wrote, unchanged, can be loaded"
        )
    start += len(INFO_MARK)
    description: dict[str, Any] = json.loads(content[start : content.index(b"\0", start)])
    if description["abi"] != BUNDLE_ABI:
        raise FormatError(
            f"{path} was exported by edgeinfer {description['version']} (bundle interface {description['abi']}); this "
            f"version runs interface {BUNDLE_ABI}: export it again"
        )
    levels = available_levels()
    if description["level"] not in levels:
        raise KernelError(
            f"{path} was exported for {description['target']}; this machine can run {', '.join(levels) or 'no level'}"
        )
    return description
