"""Vectors of int16, two neighbouring channels in the place of each float32."""

from __future__ import annotations

from numba import types

from edgeinfer.simd.pointers import FLOAT32_POINTER
from edgeinfer.simd.simd import Simd, vector_load, vector_splat, vector_store
from edgeinfer.simd.vectors import Vector


class Words:
    """Operations on vectors of words, named as those of ``Simd``: pointers and indices are those of float32.

    Sums and products keep the last 16 bits.

    Attributes:
        lanes: pairs of words of one vector.
        load: ``load(pointer, index)``: the ``lanes`` pairs from ``pointer[index]`` on; no alignment needed.
        store: ``store(pointer, index, vector)``.
        splat: ``splat(scalar)``: a whole float32 in all lanes.
    """

    def __init__(self, simd: Simd) -> None:
        vector = Vector("i16", 2 * simd.lanes)
        self.lanes = simd.lanes
        self.load = vector_load(vector, FLOAT32_POINTER)
        self.store = vector_store(vector, FLOAT32_POINTER)
        self.splat = vector_splat(vector, types.float32)
