"""A style-transfer network as a function from picture to picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from edgeinfer.errors import InputError, MediaError
from edgeinfer.runtime.port import Port
from edgeinfer.video.style import parse_style, parse_styles
from edgeinfer.video.tensors import to_pixels, to_tensor


class Network(Protocol):
    """What a stylizer needs of a session."""

    @property
    def inputs(self) -> Sequence[Port]:
        """The inputs in order."""

    @property
    def outputs(self) -> Sequence[Port]:
        """The outputs in order."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs for the given inputs."""


class Stylizer:
    """A network with a picture input float32 [1, 3, h, w] in 0..1, and perhaps an input of style weights [n].

    Raises:
        InputError: if the network has other inputs, or its first output is not named by the session.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        pictures = [port for port in network.inputs if port.shape is not None and len(port.shape) == 4]
        vectors = [port for port in network.inputs if port.shape is not None and len(port.shape) == 1]
        if len(pictures) != 1 or len(pictures) + len(vectors) != len(network.inputs) or len(vectors) > 1:
            described = ", ".join(f"{port.name} {list(port.shape or ())}" for port in network.inputs)
            raise InputError(
                "a style-transfer model takes one picture [1, 3, h, w] and at most one vector of style weights; "
                f"this one takes {described}"
            )
        self._picture = pictures[0].name
        self._height, self._width = (pictures[0].shape or ())[2:]
        self._weights_name = vectors[0].name if vectors else None
        width = (vectors[0].shape or ())[0] if vectors else 0
        self.style_count = width if isinstance(width, int) else 0
        self._output = network.outputs[0].name

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Width and height if the network takes one size only."""
        if isinstance(self._width, int) and isinstance(self._height, int):
            return self._width, self._height
        return None

    def weights(self, style: str | None) -> np.ndarray | None:
        """The weights of a style choice; None for a network of one style.

        Raises:
            MediaError: if there is no such style, or none is named where one is needed.
        """
        if self._weights_name is None:
            if style is not None:
                raise MediaError("the model has one style only: leave --style out")
            return None
        if style is None:
            raise MediaError(f"choose a style from 0 to {self.style_count - 1} with --style")
        return parse_style(style, self.style_count)

    def sheet_styles(self, text: str) -> list[str]:
        """The styles of a contact sheet: ``all``, or numbers joined by commas.

        Raises:
            MediaError: if there is no such style.
        """
        return [str(number) for number in parse_styles(text, self.style_count)]

    def label(self, style: str) -> str:
        """What to call a style on a contact sheet."""
        return f"style {style}"

    def restyle_tensor(self, tensor: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """One picture, float32 [1, 3, h, w] in 0..1 with sides that the network takes, in another style."""
        feeds = {self._picture: tensor}
        if self._weights_name is not None and weights is not None:
            feeds[self._weights_name] = weights
        return self._network.run(feeds)[self._output]

    def restyle_pixels(self, pixels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """One picture, uint8 [height, width, 3], in another style."""
        height, width = pixels.shape[:2]
        return to_pixels(self.restyle_tensor(to_tensor(pixels), weights), width, height)
