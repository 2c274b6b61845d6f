"""Instance and batch normalisation, channels last."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.plan.lowering.context import LoweringContext, NormalisedPicture, NotNative, lowering
from edgeinfer.plan.lowering.conv_geometry import activation_fields
from edgeinfer.plan.lowering.quantization import ByteScale, byte_scale

# A block of pixels is read once for each vector of channels, from the first-level cache after the first time.
BLOCK_FLOATS = 6 * 1024
TASKS_PER_THREAD = 4


def _blocks(pixels: int, channels: int, threads: int) -> tuple[int, int]:
    """Pixels of a block and number of blocks of one image."""
    fitting = max(1, BLOCK_FLOATS // channels)
    share = math.ceil(pixels / (TASKS_PER_THREAD * threads))
    task_pixels = max(1, min(fitting, max(share, 64)))
    return task_pixels, math.ceil(pixels / task_pixels)


def _emit_scale_shift(
    node: Node,
    context: LoweringContext,
    x: str,
    affine: str,
    per_image: bool,
    residual: str,
    y: str,
    pitch: int,
    of: ByteScale | None = None,
    to: ByteScale | None = None,
    added: ByteScale | None = None,
) -> None:
    """Append the last step; ``of``, ``to``, ``added`` are the scales of x, y, residual where these hold bytes.

    Readers of floats that are bounded at most are told what they are made of: the step is dropped where none is left.
    """
    batch, *spatial, channels = context.shape(x)
    pixels = math.prod(spatial)
    task_pixels, tasks = _blocks(pixels, channels, context.threads)
    affine_image, activation = 2 * pitch if per_image else 0, activation_fields(node)
    values: dict[str, int | float | str] = {
        "x": x, "affine": affine, "affine_image": affine_image, "residual": residual, "y": y,
        "pixels": pixels, "channels": channels, "pitch": pitch, "task_pixels": task_pixels, "pixel_tasks": tasks,
        "tiles": batch * tasks, **activation, "flip": of.flip if of else 0, **_output_fields(to),
        "residual_flip": added.flip if added else 0, "residual_scale": added.scale if added else 1.0,
        "residual_zero": -added.scale * added.unsigned_zero_point if added else 0.0,
    }  # fmt: skip
    floats = "f32" if to else context.float_kernels(x, residual)
    family = ("qu8_scale_shift" if of else "f32_qu8_scale_shift") if to else f"{floats}_scale_shift"
    family += "_bytes" if added else ""
    kernel = context.kernels.only(family)
    in_place = tuple((name, y) for name in (x, residual) if name and context.dtype(name) is context.dtype(y))
    lanes = context.kernels.lanes_of(kernel)
    scratch = 8 * channels * lanes if channels % lanes else 0
    context.step(kernel, node, values, (y,), scratch_bytes=scratch, in_place=in_place)
    if not (to or residual or activation["activation"]):
        bounds = activation["low"], activation["high"]
        context.normalised[y] = NormalisedPicture(x, affine, pitch, affine_image, *bounds)


def _output_fields(to: ByteScale | None) -> dict[str, int | float | str]:
    if to is None:
        return {"y_zero_point": 0, "y_scale": 1.0, "y_low": 0.0, "y_high": 0.0}
    bounds = to.bounds
    return {"y_zero_point": to.zero_point, "y_scale": to.scale, "y_low": bounds["low"], "y_high": bounds["high"]}


@lowering("InstanceNormalization", domain=FUSED)
def lower_instance_norm(node: Node, context: LoweringContext) -> None:
    """Lower a fused InstanceNormalization in NHWC layout; scale and bias may be computed at run time."""
    x, scale, bias, residual = (node.input(index) for index in range(4))
    context.float_kernels(x, residual)
    context.require_dtype(DType.FLOAT32, scale, bias)
    _emit_instance_norm(node, context, (x, scale, bias, residual))


@lowering("QInstanceNormalization", domain=FUSED)
def lower_quantized_instance_norm(node: Node, context: LoweringContext) -> None:
    """Lower an InstanceNormalization that writes bytes, and reads bytes or float32."""
    x, scale, bias, residual = node.inputs[0], *(node.input(index) for index in (3, 4, 7))
    of = byte_scale(node, context, 1, x) if node.input(1) else None
    added = byte_scale(node, context, 8, residual) if node.input(8) else None
    context.require_dtype(DType.FLOAT32, *([] if of else [x]), scale, bias, *([] if added else [residual]))
    to = byte_scale(node, context, 5, node.outputs[0])
    _emit_instance_norm(node, context, (x, scale, bias, residual), of, to, added)


def _emit_instance_norm(
    node: Node,
    context: LoweringContext,
    tensors: tuple[str, str, str, str],
    of: ByteScale | None = None,
    to: ByteScale | None = None,
    added: ByteScale | None = None,
) -> None:
    """Append the three steps for tensors x, scale, bias, residual; ``of``, ``to``, ``added`` as for the last step."""
    (x, scale, bias, residual), y = tensors, node.outputs[0]
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last normalisations have kernels")
    batch, *spatial, channels = context.shape(x)
    pixels = math.prod(spatial)
    if not pixels * batch:
        raise NotNative("an empty picture")
    statistics_kernel = context.kernels.only(
        "qu8_channel_statistics" if of else f"{context.float_kernels(x)}_channel_statistics"
    )
    lanes = context.kernels.lanes_of(statistics_kernel)
    pitch = math.ceil(channels / lanes) * lanes
    task_pixels, tasks = _blocks(pixels, channels, context.threads)
    partials = context.temporary(f"{node.name}.partials", (batch * tasks, 2, pitch))
    affine = context.temporary(f"{node.name}.affine", (batch, 2, pitch))
    shared: dict[str, int | float | str] = {
        "pixels": pixels, "channels": channels, "pitch": pitch, "task_pixels": task_pixels, "pixel_tasks": tasks,
    }  # fmt: skip
    statistics = {"x": x, "partials": partials, **shared, "flip": of.flip if of else 0, "tiles": batch * tasks}
    context.step(statistics_kernel, node, statistics, (partials,))
    epsilon = float(node.attributes.get("epsilon", 1e-5)) / (of.scale**2 if of else 1.0)
    merge = {
        "partials": partials, "gamma": scale, "beta": bias, "affine": affine, **shared,
        "tiles": batch * pitch // context.kernels.lanes, "epsilon": epsilon,
    }  # fmt: skip
    context.step(context.kernels.only("f32_merge_statistics"), node, merge, (affine,))
    _emit_scale_shift(node, context, x, affine, True, residual, y, pitch, of, to, added)


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
    _emit_scale_shift(node, context, x, name, False, "", y, pitch)
