"""edgeinfer: a small, fast neural-network runtime for CPUs."""

__version__ = "0.1.0"
