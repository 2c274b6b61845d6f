"""Instance and batch normalisation, channels last."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, NormalisedPicture, NotNative, lowering
from edgeinfer.plan.lowering.conv_geometry import activation_fields
from edgeinfer.records import NamedTuple

# A block of pixels is read once for each vector of channels, from the first-level cache after the first time.
BLOCK_FLOATS = 6 * 1024
TASKS_PER_THREAD = 4


def blocks_of_pixels(pixels: int, channels: int, threads: int) -> tuple[int, int]:
    """Pixels of a block and number of blocks of one image."""
    fitting = max(1, BLOCK_FLOATS // channels)
    share = math.ceil(pixels / (TASKS_PER_THREAD * threads))
    task_pixels = max(1, min(fitting, max(share, 64)))
    return task_pixels, math.ceil(pixels / task_pixels)


class Affine(NamedTuple):
    """Scales and shifts [image, 2, pitch] of a picture's channels.

    Attributes:
        name: the tensor.
        pitch: floats of one row.
    """

    name: str
    pitch: int


def _emit_scale_shift(
    node: Node, context: LoweringContext, x: str, affine: Affine, per_image: bool, residual: str, y: str
) -> None:
    """Append the last step.

    Readers of floats that are bounded at most are told what they are made of: the step is dropped where none is left.
    """
    batch, *spatial, channels = context.shape(x)
    pixels = math.prod(spatial)
    task_pixels, tasks = blocks_of_pixels(pixels, channels, context.threads)
    affine_image, activation = 2 * affine.pitch if per_image else 0, activation_fields(node)
    values: dict[str, int | float | str] = {
        "x": x, "affine": affine.name, "affine_image": affine_image, "residual": residual, "y": y,
        "pixels": pixels, "channels": channels, "pitch": affine.pitch, "task_pixels": task_pixels,
        "pixel_tasks": tasks, "tiles": batch * tasks, **activation,
    }  # fmt: skip
    kernel = context.kernels.only(f"{context.float_kernels(x, residual)}_scale_shift")
    lanes = context.kernels.lanes_of(kernel)
    scratch = 8 * channels * lanes if channels % lanes else 0
    in_place = tuple((name, y) for name in (x, residual) if name)
    context.step(kernel, node, values, (y,), scratch_bytes=scratch, in_place=in_place)
    if not (residual or activation["activation"]):
        bounds = activation["low"], activation["high"]
        context.normalised[y] = NormalisedPicture(x, affine.name, affine.pitch, affine_image, *bounds)


@lowering("InstanceNormalization", domain=FUSED)
def lower_instance_norm(node: Node, context: LoweringContext) -> None:
    """Lower a fused InstanceNormalization in NHWC layout; scale and bias may be computed at run time."""
    x, scale, bias, residual = (node.input(index) for index in range(4))
    context.float_kernels(x, residual)
    context.require_dtype(DType.FLOAT32, scale, bias)
    affine = emit_float_statistics(node, context, x, scale, bias)
    _emit_scale_shift(node, context, x, affine, True, residual, node.outputs[0])


def emit_float_statistics(node: Node, context: LoweringContext, x: str, scale: str, bias: str) -> Affine:
    """Append the two steps that make scales and shifts of a picture of floats."""
    batch, pixels, channels = picture_size(node, context, x)
    kernel = context.kernels.only(f"{context.float_kernels(x)}_channel_statistics")
    lanes = context.kernels.lanes_of(kernel)
    pitch = math.ceil(channels / lanes) * lanes
    task_pixels, tasks = blocks_of_pixels(pixels, channels, context.threads)
    partials = context.temporary(f"{node.name}.partials", (batch * tasks, 2, pitch))
    affine = context.temporary(f"{node.name}.affine", (batch, 2, pitch))
    shared: dict[str, int | float | str] = {
        "pixels": pixels, "channels": channels, "pitch": pitch, "task_pixels": task_pixels, "pixel_tasks": tasks,
    }  # fmt: skip
    context.step(kernel, node, {"x": x, "partials": partials, **shared, "tiles": batch * tasks}, (partials,))
    merge = {
        "partials": partials, "gamma": scale, "beta": bias, "affine": affine, **shared,
        "tiles": batch * pitch // context.kernels.lanes, "epsilon": float(node.attributes.get("epsilon", 1e-5)),
    }  # fmt: skip
    context.step(context.kernels.only("f32_merge_statistics"), node, merge, (affine,))
    return Affine(affine, pitch)


def picture_size(node: Node, context: LoweringContext, x: str) -> tuple[int, int, int]:
    """Pictures, pixels of each, channels; NotNative where there are no kernels for them."""
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last normalisations have kernels")
    batch, *spatial, channels = context.shape(x)
    pixels = math.prod(spatial)
    if not pixels * batch:
        raise NotNative("an empty picture")
    return batch, pixels, channels


@lowering("BatchNormalization", domain=FUSED)
def lower_batch_norm(node: Node, context: LoweringContext) -> None:
    """Lower an inference BatchNormalization in NHWC layout with constant parameters."""
    x, y = node.inputs[0], node.outputs[0]
    if node.attributes.get("layout") != "NHWC" or node.attributes.get("training_mode", 0):
        raise NotNative("only channels-last inference normalisations have kernels")
    numbers = context.float_kernels(x)
    constants = [context.constant(name) for name in node.inputs[1:5]]
    if any(array is None for array in constants):
        raise NotNative("the parameters are computed at run time")
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in constants)
    lanes, channels = context.kernels.lanes_of(numbers), len(gamma)
    pitch = math.ceil(channels / lanes) * lanes
    affine = np.zeros((2, pitch), np.float32)
    affine[0, :channels] = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    affine[1, :channels] = beta - mean * affine[0, :channels]
    name = context.new_constant(f"{node.name}.affine", affine)
    _emit_scale_shift(node, context, x, Affine(name, pitch), False, "", y)
