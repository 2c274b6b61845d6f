"""Style choices such as ``3``, ``3:0.6,19:0.4`` or ``painting.jpg``: their parts, and weights of a network's styles."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.errors import MediaError


def parse_blend(text: str) -> list[tuple[str, float]]:
    """The parts of a style choice: one name (weight 1), or ``NAME:WEIGHT`` pairs joined by commas.

    Raises:
        MediaError: if a weight or the form is wrong.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and ":" not in text:
        return [(text, 1.0)]
    blend: list[tuple[str, float]] = []
    for part in parts:
        name, colon, weight = part.rpartition(":")
        if not colon:
            raise MediaError(f"style '{text}': a blend gives every style a weight, such as 3:0.6,19:0.4")
        if name in (known for known, _ in blend):
            raise MediaError(f"style '{text}' names style {name} twice")
        blend.append((name, _weight(weight, text)))
    return blend


def parse_style(text: str, count: int) -> np.ndarray:
    """Weights for all styles, float32 [count].

    Args:
        text: a style's number (weight 1), or ``NUMBER:WEIGHT`` pairs joined by commas. Weights reach the network as
            they are: those of a blend usually sum to 1.
        count: number of styles of the network.

    Raises:
        MediaError: if a number, a weight or the form is wrong.
    """
    weights = np.zeros(count, np.float32)
    for name, weight in parse_blend(text):
        weights[_number(name, text, count)] += weight
    return weights


def parse_styles(text: str, count: int) -> list[int]:
    """Numbers of several styles: ``all``, or numbers joined by commas.

    Raises:
        MediaError: if a number is wrong.
    """
    if text == "all":
        return list(range(count))
    return [_number(part.strip(), text, count) for part in text.split(",")]


def _number(part: str, text: str, count: int) -> int:
    if not (part.isascii() and part.isdigit()):
        raise MediaError(f"style '{text}': '{part}' is not a style's number")
    if int(part) >= count:
        raise MediaError(f"there is no style {int(part)}: the model has styles 0 to {count - 1}")
    return int(part)


def _weight(part: str, text: str) -> float:
    try:
        weight = float(part)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise MediaError(f"style '{text}': '{part}' is not a weight")
    return weight
