"""From what was seen of a value to the range that its 256 integers cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.quantize.observation import BINS, Observation

Range = tuple[float, float]

PERCENTILE = 99.99
_STEPS = 255
# Shares of the whole range that are tried.
_SHARES = np.linspace(1.0, 0.2, 41)


def choose_range(seen: Observation, method: str) -> Range:
    """The range of numbers that integers shall stand for; it always holds 0, so that 0 is exact.

    Args:
        seen: what was seen of the value.
        method: a key of METHODS.

    Raises:
        QuantizationError: if there is no such method.
    """
    if method not in METHODS:
        raise QuantizationError(f"there is no calibration method '{method}'; the methods are {', '.join(METHODS)}")
    if seen.high < seen.low:
        return 0.0, 0.0
    if method not in seen.ranges:
        low, high = METHODS[method](seen) if seen.counts.size else (seen.low, seen.high)
        seen.ranges[method] = min(low, 0.0), max(high, 0.0)
    return seen.ranges[method]


def widened_range(seen: Observation, method: str, widening: float) -> Range:
    """The range that a method chooses, widened by a share of what it cuts off.

    Args:
        seen: what was seen of the value.
        method: a key of METHODS.
        widening: 0 for the method's range to 1 for the whole.

    Raises:
        QuantizationError: if there is no such method.
    """
    low, high = choose_range(seen, method)
    lowest, highest = choose_range(seen, "minmax")
    return low + widening * (lowest - low), high + widening * (highest - high)


def _minmax(seen: Observation) -> Range:
    return seen.low, seen.high


def _percentile(seen: Observation) -> Range:
    """The range without the rarest 0.01 % of elements on either side."""
    share = np.cumsum(seen.counts) / seen.counts.sum()
    rare = 1 - PERCENTILE / 100
    edges = np.linspace(seen.low, seen.high, BINS + 1)
    first, last = int(np.searchsorted(share, rare)), int(np.searchsorted(share, 1 - rare))
    return float(edges[first]), float(edges[min(last + 1, BINS)])


def _candidates(seen: Observation) -> list[Range]:
    """Ranges that leave out more and more on the side that reaches farther from the median."""
    middle = float(np.interp(0.5, np.cumsum(seen.counts) / seen.counts.sum(), seen.centres))
    return [(middle + share * (seen.low - middle), middle + share * (seen.high - middle)) for share in _SHARES] + [
        (seen.low, middle + share * (seen.high - middle)) for share in _SHARES[1:]
    ]


def _mse(seen: Observation) -> Range:
    """The candidate with the least mean squared error of rounding and clipping."""
    centres, counts = seen.centres, seen.counts

    def error(bounds: Range) -> float:
        low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
        scale = max(high - low, 1e-300) / _STEPS
        clipped = np.clip(centres, low, high)
        rounded = np.rint((clipped - low) / scale) * scale + low
        # Inside a bin rounding errors are uniform; centres alone would take coarse scales for exact ones.
        return float(counts @ ((rounded - centres) ** 2 + np.where(clipped == centres, scale**2 / 12, 0.0)))

    return min(_candidates(seen), key=error)


def _entropy(seen: Observation) -> Range:
    """The candidate whose histogram of integers tells most of that of the numbers, by the Kullback-Leibler divergence.

    Source: S. Migacz, 8-bit inference with TensorRT, GTC 2017; here for asymmetric ranges.
    """
    centres, counts = seen.centres, seen.counts.astype(np.float64)

    def divergence(bounds: Range) -> float:
        low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
        if high <= low:
            return np.inf
        places = np.clip(np.rint((centres - low) * (_STEPS / (high - low))).astype(np.int64), 0, _STEPS)
        inside = (centres >= low) & (centres <= high)
        if not counts[inside].any():
            return np.inf
        # The numbers beyond the range end up in its outermost bins.
        reference = np.where(inside, counts, 0.0)
        first, last = np.flatnonzero(inside)[[0, -1]]
        reference[first] += counts[:first].sum()
        reference[last] += counts[last + 1 :].sum()
        used = inside & (counts > 0)
        total = np.bincount(places[inside], counts[inside], _STEPS + 1)
        bins = np.bincount(places[used], minlength=_STEPS + 1)
        model = np.where(used, total[places] / np.maximum(bins[places], 1), 0.0)
        p, q = reference / reference.sum(), model / model.sum()
        both = (p > 0) & (q > 0)
        missing = p[(p > 0) & (q == 0)].sum()
        return float((p[both] * np.log(p[both] / q[both])).sum() + missing * np.log(1e6))

    return min(_candidates(seen), key=divergence)


METHODS: dict[str, Callable[[Observation], Range]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
