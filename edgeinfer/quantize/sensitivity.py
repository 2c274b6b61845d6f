"""Which layers run on integers: each one's damage, and the search for a set that holds a goal."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from edgeinfer.quantize.metrics import Outputs

# Layers cost at least this share of all multiply-adds: turning numbers into integers and back takes time too.
_SMALLEST_SHARE = 0.005


def noise_power(expected: list[Outputs], found: list[Outputs]) -> float:
    """Mean squared error over all outputs and samples, each output relative to its own power."""
    shares = []
    for outputs, others in zip(expected, found, strict=True):
        for name in outputs:
            signal = np.asarray(outputs[name], np.float64)
            error = np.asarray(others[name], np.float64) - signal
            shares.append(float(np.mean(error**2)) / max(float(np.mean(signal**2)), 1e-300))
    return float(np.mean(shares))


def keep_worst(damages: dict[str, float], sizes: dict[str, int], holds: Callable[[set[str]], bool]) -> set[str] | None:
    """The layers that must stay float for a goal to hold, with as few multiply-adds as can be.

    Noise of layers adds up. So those that do most damage for their size are taken first, as many as are needed by
    bisection; then those that turn out not to be needed are given back, large ones first, small ones not at all.

    Args:
        damages: noise that each layer alone brings, by name.
        sizes: multiply-adds of each.
        holds: whether the goal holds with given layers kept float.

    Returns:
        The layers, or None if the goal does not even hold with all of them float.
    """
    least = max(1.0, _SMALLEST_SHARE * sum(sizes[name] for name in damages))
    order = sorted(damages, key=lambda name: -damages[name] / max(sizes[name], least))
    if not holds(set(order)):
        return None
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if holds(set(order[:middle])):
            high = middle
        else:
            low = middle + 1
    kept = set(order[:high])
    for name in _largest_first(kept, sizes):
        if len(kept) > 1 and sizes[name] >= least and holds(kept - {name}):
            kept.discard(name)
    return kept


def _largest_first(names: Iterable[str], sizes: dict[str, int]) -> list[str]:
    return sorted(names, key=lambda name: -sizes[name])
