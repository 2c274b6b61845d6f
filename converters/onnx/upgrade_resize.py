"""Upgrades of resampling: Upsample and Resize, GridSample, RoiAlign."""

from __future__ import annotations

import numpy as np

from converters.onnx.scope import Scope
from converters.onnx.upgrade import ALWAYS, CannotUpgradeError, attribute_to_input, upgrade
from edgeinfer.graph import Node


@upgrade(9, "Upsample")
def scales_to_input(scope: Scope, node: Node) -> list[Node]:
    """The factors became an input."""
    attribute_to_input(scope, node, "scales", 1, np.float32)
    return [node]


@upgrade(10, "Upsample")
def upsample_to_resize(scope: Scope, node: Node) -> list[Node]:
    """Upsample became Resize, which also shrinks."""
    node.op = "Resize"
    return [node]


@upgrade(11, "Resize")
def state_coordinates(scope: Scope, node: Node) -> list[Node]:
    """The first Resize had one rule: coordinates are divided by the factor.

    Nearest then rounds down to enlarge and up to shrink. Factors that are not constant are taken to enlarge.
    """
    x, scales = node.inputs
    node.inputs = [x, "", scales]
    node.attributes["coordinate_transformation_mode"] = "asymmetric"
    if node.attributes.get("mode", "nearest") == "nearest":
        factors = scope.constant(scales)
        shrinks = factors is not None and factors.min() < 1
        if factors is not None and shrinks and factors.max() > 1:
            raise CannotUpgradeError("nearest resizing that enlarges one axis and shrinks another is not supported")
        node.attributes["nearest_mode"] = "ceil" if shrinks else "floor"
    return [node]


@upgrade(13, "Resize")
def replace_removed_coordinates(scope: Scope, node: Node) -> list[Node]:
    """Mode tf_half_pixel_for_nn is gone: floor((i + 0.5) / s) is half_pixel rounded to the nearest, ties up."""
    if node.attributes.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        if node.attributes.get("mode", "nearest") != "nearest" or node.attributes.get("nearest_mode") != "floor":
            raise CannotUpgradeError("'tf_half_pixel_for_nn' is supported only with nearest_mode 'floor'")
        node.attributes["coordinate_transformation_mode"] = "half_pixel"
        node.attributes["nearest_mode"] = "round_prefer_ceil"
    return [node]


@upgrade(ALWAYS, "Resize")
def leave_out_empty_inputs(scope: Scope, node: Node) -> list[Node]:
    """Empty constants stand for inputs left out."""
    for position in range(1, len(node.inputs)):
        constant = scope.constant(node.input(position))
        if constant is not None and constant.size == 0:
            node.inputs[position] = ""
    while not node.inputs[-1]:
        node.inputs.pop()
    return [node]


@upgrade(20, "GridSample")
def rename_modes(scope: Scope, node: Node) -> list[Node]:
    """The modes lost their prefix: they hold for any number of dimensions."""
    mode = node.attributes.get("mode", "bilinear")
    node.attributes["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    return [node]


@upgrade(16, "RoiAlign")
def state_half_pixel(scope: Scope, node: Node) -> list[Node]:
    """Coordinates were not shifted by half a pixel; now that is the default."""
    node.attributes["coordinate_transformation_mode"] = "output_half_pixel"
    return [node]
