"""The kernels: one family per file, written in Python over the SIMD vocabulary, compiled by Numba."""
