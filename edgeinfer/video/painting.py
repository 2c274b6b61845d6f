"""Any painting as the style: one network describes a painting by a vector, another restyles pictures by that vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.errors import InputError, MediaError
from edgeinfer.pictures import PICTURE_SUFFIXES, pillow, read_picture
from edgeinfer.video.style import parse_blend
from edgeinfer.video.stylizer import Network, Stylizer
from edgeinfer.video.tensors import to_tensor


def names_painting(style: str) -> bool:
    """Whether a style choice names pictures, not numbers of styles."""
    names = [style, *(part.strip().rpartition(":")[0] or part.strip() for part in style.split(","))]
    return any(Path(name).suffix.lower() in PICTURE_SUFFIXES or Path(name).is_file() for name in names)


class PaintingStylizer(Stylizer):
    """A network that takes a style as a vector, and another that finds the vector of a painting.

    Ghiasi et al., "Exploring the Structure of a Real-time, Arbitrary Neural Artistic Stylization Network", 2017.

    Args:
        transform: takes a picture float32 [1, 3, h, w] in 0..1 and a style [n].
        predict: takes a painting float32 [1, 3, side, side] in 0..1 and gives its style [n].

    Raises:
        InputError: if the networks have other inputs or outputs.
    """

    def __init__(self, transform: Network, predict: Network) -> None:
        super().__init__(transform)
        ports = [tuple(port.shape or ()) for port in (*predict.inputs, *predict.outputs)]
        if len(ports) != 2 or ports[0] != (1, 3, *ports[0][2:3] * 2) or ports[1] != (self.style_count,):
            raise InputError(
                f"a network that describes paintings takes one picture [1, 3, side, side] and gives a style "
                f"[{self.style_count}]; this one has {', '.join(str(list(shape)) for shape in ports)}"
            )
        self._predict = predict
        self._side = int(ports[0][2])

    def weights(self, style: str | None) -> np.ndarray:
        """The vector of a painting, or the weighted sum of several.

        Args:
            style: a picture's path, or ``PATH:WEIGHT`` pairs joined by commas, whose weights usually sum to 1.

        Raises:
            MediaError: if a picture cannot be read, or none is named.
        """
        if style is None:
            raise MediaError("choose a painting with --style")
        blend = [(style, 1.0)] if Path(style).is_file() else parse_blend(style)
        total = np.zeros(self.style_count, np.float32)
        for name, weight in blend:
            total += np.float32(weight) * self._describe(Path(name))
        return total

    def sheet_styles(self, text: str) -> list[str]:
        """The paintings of a contact sheet: paths joined by commas."""
        return [text] if Path(text).is_file() else [part.strip() for part in text.split(",")]

    def label(self, style: str) -> str:
        """What to call a style: the painting's file name."""
        return Path(style).stem

    def _describe(self, painting: Path) -> np.ndarray:
        """The vector of the largest square in the middle of a picture."""
        if not painting.is_file():
            raise MediaError(f"there is no painting {painting}: --style takes a number, a picture's path, or a blend")
        image = pillow()
        picture = image.fromarray(read_picture(painting))
        square = min(picture.size)
        left, top = (picture.width - square) // 2, (picture.height - square) // 2
        resized = picture.crop((left, top, left + square, top + square)).resize(
            (self._side, self._side), image.Resampling.LANCZOS
        )
        name = self._predict.inputs[0].name
        return self._predict.run({name: to_tensor(np.asarray(resized))})[self._predict.outputs[0].name]
