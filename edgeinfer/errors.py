"""The errors that edgeinfer raises: each names the place, what was expected, what was found, and the way out."""

from __future__ import annotations

from collections.abc import Sequence


class EdgeInferError(Exception):
    """Base of every error raised on purpose by edgeinfer."""


class GraphError(EdgeInferError):
    """A graph breaks one of the rules of the intermediate representation."""


class ShapeError(EdgeInferError):
    """The shapes or dtypes of an operator's inputs do not fit together."""


class FormatError(EdgeInferError):
    """A model file is damaged, cut short, or not of the expected format."""


class ConversionError(EdgeInferError):
    """A model of another framework cannot be turned into a graph."""


class UnsupportedOperatorError(ConversionError):
    """The model uses operators or attributes that edgeinfer does not know.

    Attributes:
        problems: one line for each operator, naming the node, so that all gaps are seen at once.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(f"{len(self.problems)} unsupported operator(s):\n  " + "\n  ".join(self.problems))


class InputError(EdgeInferError):
    """An input handed to a session has the wrong name, dtype, rank or size."""


class PlanError(EdgeInferError):
    """A graph cannot be planned for the given shapes, threads and kernels."""


class DynamicShapeError(PlanError):
    """Shapes inside a graph depend on data, so that it cannot be planned whole ahead of a run."""


class KernelError(EdgeInferError):
    """The compiled kernels cannot be found, built or loaded on this machine."""


class MediaError(EdgeInferError):
    """A picture or video cannot be read or written."""


class QuantizationError(EdgeInferError):
    """A model cannot be quantized with the calibration data given, or not as well as asked for."""
