"""Checkpoints of PyTorch's older form as NumPy arrays, without PyTorch.

Such a file is a row of pickles (a magic number, a version, facts on the machine, the tensors, the keys of their
storages), and then for each key a count as int64 and so many numbers. Only what builds tensors is unpickled.
"""

from __future__ import annotations

import collections
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True)
class _Tensor:
    """Numbers of a storage, ``strides`` of them apart along each axis."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, storage: np.ndarray) -> np.ndarray:
        """The tensor out of its storage."""
        steps = [stride * storage.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps).copy()


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name, in order.

    Raises:
        pickle.UnpicklingError: if the file holds anything but tensors of float32 and int64.
    """
    with path.open("rb") as file:
        # A magic number, the version of the form, and facts on the machine.
        for _ in range(3):
            _Reader(file).load()
        reader = _Reader(file)
        tensors: dict[str, _Tensor] = reader.load()
        storages = {}
        for key in _Reader(file).load():
            dtype = reader.dtypes[key]
            (count,) = np.frombuffer(file.read(8), "<i8")
            storages[key] = np.frombuffer(file.read(int(count) * dtype.itemsize), dtype)
    return {name: tensor.array(storages[tensor.key]) for name, tensor in tensors.items()}


class _Reader(pickle.Unpickler):
    """Reads one pickle in which tensors refer to storages by key."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, shape, strides, *_: _Tensor(key, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"the checkpoint holds {module}.{name}, which is no tensor")

    def persistent_load(self, identity: Any) -> str:
        """The key of a storage; its type is kept for when its numbers are read."""
        _, dtype, key, *_ = identity
        self.dtypes[key] = dtype
        return str(key)
