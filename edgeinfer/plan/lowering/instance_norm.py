"""Instance and batch normalisation, channels last."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering
from edgeinfer.plan.lowering.conv_geometry import activation_fields

# A block of pixels is read twice; it should still be in the first- or second-level cache the second time.
BLOCK_FLOATS = 16 * 1024
TASKS_PER_THREAD = 4


def _blocks(pixels: int, channels: int, threads: int) -> tuple[int, int]:
    """Pixels of a block and number of blocks of one image."""
    fitting = max(1, BLOCK_FLOATS // channels)
    share = math.ceil(pixels / (TASKS_PER_THREAD * threads))
    task_pixels = max(1, min(fitting, max(share, 64)))
    return task_pixels, math.ceil(pixels / task_pixels)


def _emit_scale_shift(
    node: Node, context: LoweringContext, x: str, affine: str, per_image: bool, residual: str, y: str, pitch: int
) -> None:
    batch, *spatial, channels = context.shape(x)
    pixels = math.prod(spatial)
    task_pixels, tasks = _blocks(pixels, channels, context.threads)
    values: dict[str, int | float | str] = {
        "x": x, "affine": affine, "affine_image": 2 * pitch if per_image else 0, "residual": residual, "y": y,
        "pixels": pixels, "channels": channels, "pitch": pitch, "task_pixels": task_pixels, "pixel_tasks": tasks,
        "tiles": batch * tasks, **activation_fields(node),
    }  # fmt: skip
    kernel = context.kernels.only("f32_scale_shift")
    in_place = ((x, y), (residual, y)) if residual else ((x, y),)
    lanes = context.kernels.lanes
    scratch = 8 * channels * lanes if channels % lanes else 0
    context.step(kernel, node, values, (y,), scratch_bytes=scratch, in_place=in_place)


@lowering("InstanceNormalization", domain=FUSED)
def lower_instance_norm(node: Node, context: LoweringContext) -> None:
    """Lower a fused InstanceNormalization in NHWC layout; scale and bias may be computed at run time."""
    x, scale, bias, residual, y = *(node.input(index) for index in range(4)), node.outputs[0]
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last normalisations have kernels")
    context.require_dtype(DType.FLOAT32, x, scale, bias, residual)
    batch, *spatial, channels = context.shape(x)
    pixels = math.prod(spatial)
    if not pixels * batch:
        raise NotNative("an empty picture")
    lanes = context.kernels.lanes
    pitch = math.ceil(channels / lanes) * lanes
    task_pixels, tasks = _blocks(pixels, channels, context.threads)
    partials = context.temporary(f"{node.name}.partials", (batch * tasks, 2, pitch))
    affine = context.temporary(f"{node.name}.affine", (batch, 2, pitch))
    shared: dict[str, int | float | str] = {
        "pixels": pixels, "channels": channels, "pitch": pitch, "task_pixels": task_pixels, "pixel_tasks": tasks,
    }  # fmt: skip
    statistics = {"x": x, "partials": partials, **shared, "tiles": batch * tasks}
    context.step(context.kernels.only("f32_channel_statistics"), node, statistics, (partials,))
    merge = {
        "partials": partials, "gamma": scale, "beta": bias, "affine": affine, **shared,
        "tiles": batch * pitch // lanes, "epsilon": float(node.attributes.get("epsilon", 1e-5)),
    }  # fmt: skip
    context.step(context.kernels.only("f32_merge_statistics"), node, merge, (affine,))
    _emit_scale_shift(node, context, x, affine, True, residual, y, pitch)


@lowering("BatchNormalization", domain=FUSED)
def lower_batch_norm(node: Node, context: LoweringContext) -> None:
    """Lower an inference BatchNormalization in NHWC layout with constant parameters."""
    x, y = node.inputs[0], node.outputs[0]
    if node.attributes.get("layout") != "NHWC" or node.attributes.get("training_mode", 0):
        raise NotNative("only channels-last inference normalisations have kernels")
    context.require_dtype(DType.FLOAT32, x)
    constants = [context.constant(name) for name in node.inputs[1:5]]
    if any(array is None for array in constants):
        raise NotNative("the parameters are computed at run time")
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in constants)
    lanes, channels = context.kernels.lanes, len(gamma)
    pitch = math.ceil(channels / lanes) * lanes
    affine = np.zeros((2, pitch), np.float32)
    affine[0, :channels] = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    affine[1, :channels] = beta - mean * affine[0, :channels]
    name = context.new_constant(f"{node.name}.affine", affine)
    _emit_scale_shift(node, context, x, name, False, "", y, pitch)
