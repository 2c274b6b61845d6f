"""A contact sheet: one picture in several styles, each with a label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.pictures import pillow

TILE_WIDTH = 320
LABEL_HEIGHT = 22
GAP = 6
BACKGROUND = (24, 24, 27)
INK = (235, 235, 235)


def contact_sheet(tiles: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Arrange labelled pictures of one size in rows.

    Args:
        tiles: labels with pictures, uint8 [height, width, 3].

    Returns:
        The sheet, uint8 [height, width, 3].
    """
    image, draw = pillow("Image"), pillow("ImageDraw")
    font = pillow("ImageFont").load_default(size=15)
    height, width = tiles[0][1].shape[:2]
    tile_width = min(TILE_WIDTH, width)
    tile_height = max(1, round(height * tile_width / width))
    columns = column_count(len(tiles), tile_width / (tile_height + LABEL_HEIGHT))
    rows = math.ceil(len(tiles) / columns)
    cell_width, cell_height = tile_width + GAP, tile_height + LABEL_HEIGHT + GAP
    sheet = image.new("RGB", (columns * cell_width + GAP, rows * cell_height + GAP), BACKGROUND)
    pen = draw.Draw(sheet)
    for index, (label, pixels) in enumerate(tiles):
        left, top = GAP + index % columns * cell_width, GAP + index // columns * cell_height
        tile = image.fromarray(pixels).resize((tile_width, tile_height), image.Resampling.LANCZOS)
        sheet.paste(tile, (left, top))
        pen.text((left + 2, top + tile_height + 2), label, fill=INK, font=font)
    return np.asarray(sheet)


def column_count(count: int, aspect: float) -> int:
    """Number of columns for ``count`` tiles of width / height ``aspect``: a sheet about 4:3 with few empty places."""

    def unevenness(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log(columns * aspect / rows / (4 / 3))) + (columns * rows - count) / count

    return min(range(1, count + 1), key=unevenness)
