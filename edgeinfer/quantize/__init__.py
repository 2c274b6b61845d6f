"""Quantization: calibration data in, a model on 8-bit integers out."""

from edgeinfer.quantize.backend import Backend, Feeds
from edgeinfer.quantize.post_training import Goal, LayerResult, PostTraining, Quantized
from edgeinfer.quantize.ranges import METHODS

__all__ = ["METHODS", "Backend", "Feeds", "Goal", "LayerResult", "PostTraining", "Quantized"]
