"""The points of Winograd's minimal filtering, and what the filter's transform divides by; see ``minimal_filtering``.

Apart from it, since planners need no fractions: importing these takes longer than planning a small model.
"""

from __future__ import annotations

import math

# Finite points by size; opposite ones stand together, for what they share is computed once. Powers of two are exact
# and as near to 1 as they can be, which keeps the error small.
POINTS: dict[int, tuple[float, ...]] = {
    3: (0.0, 1.0),
    4: (0.0, 1.0, -1.0),
    5: (0.0, 1.0, -1.0, 0.5),
    6: (0.0, 1.0, -1.0, 2.0, -2.0),
    7: (0.0, 1.0, -1.0, 0.5, -0.5, 2.0),
    8: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5),
}


def point_scales(size: int) -> list[float]:
    """For each finite point p the product of (p - q) over the other points q, which is exact."""
    finite = POINTS[size]
    return [
        math.prod(point - other for other in finite[:index] + finite[index + 1 :]) for index, point in enumerate(finite)
    ]
