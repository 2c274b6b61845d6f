"""The SIMD vocabulary: vectors, masks, register tiles, pointers and atomics for Numba kernels."""
