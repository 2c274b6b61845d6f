"""Operators: one file per family, each with shape inference and a NumPy reference."""
