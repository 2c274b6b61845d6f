"""The matrices of Winograd's minimal filtering F(output, taps), made from points at which polynomials are evaluated.

For ``output`` numbers of a correlation of d with ``taps`` numbers g, ``size = output + taps - 1`` products are enough
(Toom and Cook; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; Barabasz et al., "Error
analysis and improving the accuracy of Winograd convolution", 2020):

    y = A^T [ (G g) * (B^T d) ],   N(x) = product of (x - p) over the finite points p
    A^T[k] = p^k,   G[p] = p^k / product of (p - q) over the other points q,   B^T[p] = coefficients of N(x) / (x - p)

and for the last point, infinity, the highest power of x alone. Only A^T depends on ``output`` and only G on ``taps``:
B^T is the same for all with as many points. What a G of fewer taps has at infinity is zero for a filter with one tap
less, so its product may be left out.
"""

from __future__ import annotations

import functools
from fractions import Fraction

from edgeinfer.filter_points import POINTS, point_scales

Matrix = tuple[tuple[Fraction, ...], ...]


def points(size: int) -> tuple[Fraction, ...]:
    """The finite points of a size."""
    return tuple(Fraction(point) for point in POINTS[size])


def _product(roots: tuple[Fraction, ...]) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        for power, coefficient in enumerate(coefficients):
            shifted[power] -= root * coefficient
        coefficients = shifted
    return coefficients


@functools.cache
def input_matrix(size: int) -> Matrix:
    """``B^T``: from ``size`` numbers of input to as many products."""
    finite = points(size)
    rows = [[*_product(finite[:index] + finite[index + 1 :]), Fraction(0)] for index in range(len(finite))]
    return tuple(tuple(row) for row in [*rows, _product(finite)])


@functools.cache
def filter_matrix(size: int, taps: int) -> Matrix:
    """``G``: from ``taps`` numbers of a filter to ``size`` factors."""
    rows = [
        tuple(point**power / Fraction(scale) for power in range(taps))
        for point, scale in zip(points(size), point_scales(size), strict=True)
    ]
    return (*rows, tuple(Fraction(power == taps - 1) for power in range(taps)))


@functools.cache
def output_matrix(size: int, output: int) -> Matrix:
    """``A^T``: from ``size`` products to ``output`` numbers."""
    return tuple((*(point**power for point in points(size)), Fraction(power == output - 1)) for power in range(output))
