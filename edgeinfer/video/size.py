"""Sizes of pictures: what the user asks for, what codecs and networks need."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeinfer.errors import MediaError


@dataclass(frozen=True)
class SizeRequest:
    """A wanted width and height in pixels; None keeps the shape of the source.

    ``even`` makes both sides even, as 4:2:0 chroma needs them.
    """

    width: int | None = None
    height: int | None = None
    even: bool = False

    def resolve(self, width: int, height: int) -> tuple[int, int]:
        """Width and height for a source of the given width and height."""
        if self.width and self.height:
            width, height = self.width, self.height
        elif self.width:
            width, height = self.width, max(1, round(height * self.width / width))
        elif self.height:
            width, height = max(1, round(width * self.height / height)), self.height
        if self.even:
            return max(2, width // 2 * 2), max(2, height // 2 * 2)
        return width, height


def parse_size(text: str) -> SizeRequest:
    """``640x360``, ``640x`` or ``x360`` (the other side keeps the shape).

    Raises:
        MediaError: if the text is none of these.
    """
    match = re.fullmatch(r"(\d{0,5})x(\d{0,5})", text)
    if match is None or not any(match.groups()) or "0" in {side.strip("0") or "0" for side in match.groups() if side}:
        raise MediaError(f"size '{text}' is not WIDTHxHEIGHT in pixels, such as 640x360, 640x or x360")
    width, height = (int(side) if side else None for side in match.groups())
    return SizeRequest(width, height)
