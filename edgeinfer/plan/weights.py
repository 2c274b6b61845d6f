"""The block of constants that kernels read: packed weights, biases, tables, each once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np

from edgeinfer.plan.memory import align, aligned_block
from edgeinfer.plan.packing import Packer, Packing, pack_by_references

Key = tuple[str, str]


class WeightBlock:
    """Constants of all plans of one model, each on a 64-byte boundary of one block.

    Plans of one model for different shapes share it. It grows when a plan brings new constants;
    offsets never change, the address may.

    Attributes:
        sources: constants of the prepared graph; what is packed of these is packed once.
        data: the bytes.
    """

    def __init__(self, sources: Mapping[str, np.ndarray]) -> None:
        self.sources = sources
        self.data = aligned_block(0)
        self._entries: dict[Key, tuple[int, np.dtype, tuple[int, ...]]] = {}

    def packed(self) -> dict[Key, np.ndarray]:
        """Views of all constants that were made from a source, by (source, packing)."""
        return {key: self._view(*entry) for key, entry in self._entries.items() if key[0]}

    def add(
        self,
        arrays: dict[str, np.ndarray | Packing],
        origins: Mapping[str, Key],
        packer: Packer = pack_by_references,
    ) -> dict[str, int]:
        """Put constants into the block.

        Args:
            arrays: the constants by name: contents, or how to make them; emptied, so that large ones are not held twice
                while others are copied.
            origins: for those made from a source, their (source, packing).
            packer: what makes those that are not made yet, in their places.

        Returns:
            Offset of each constant in bytes.
        """
        keys = {name: self._key(name, array, origins) for name, array in arrays.items()}
        size = start = len(self.data)
        for name, key in keys.items():
            if key not in self._entries:
                self._entries[key] = (size, arrays[name].dtype, arrays[name].shape)
                size += align(arrays[name].nbytes)
        if size > start:
            grown = aligned_block(size)
            grown[:start] = self.data
            self.data = grown
        packings: dict[Key, tuple[Packing, np.ndarray]] = {}
        while arrays:
            name, array = arrays.popitem()
            entry = self._entries[keys[name]]
            if entry[0] < start:
                continue
            if isinstance(array, Packing):
                packings[keys[name]] = (array, self._view(*entry))
            else:
                np.copyto(self._view(*entry), array)
        if packings:
            packer(list(packings.values()))
        return {name: self._entries[key][0] for name, key in keys.items()}

    def _key(self, name: str, array: np.ndarray | Packing, origins: Mapping[str, Key]) -> Key:
        source, packing = origins.get(name, (name, ""))
        while source in origins:
            source, inner = origins[source]
            packing = f"{inner}.{packing}"
        if source in self.sources:
            return source, packing
        content, packing = (array.source, packing) if isinstance(array, Packing) else (array, "")
        digest = hashlib.blake2b(np.ascontiguousarray(content).view(np.uint8).data, digest_size=16)
        return "", f"{packing}{content.dtype.str}{content.shape}{digest.hexdigest()}"

    def _view(self, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape) * dtype.itemsize
        return self.data[offset : offset + size].view(dtype).reshape(shape)
