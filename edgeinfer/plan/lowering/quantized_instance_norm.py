"""Instance normalisation that writes 8-bit pictures, channels last."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.ops.quantized_normalization import EXACT_ORDER_PIXELS
from edgeinfer.ops.quantized_products import CLAMPS, integer_bounds
from edgeinfer.plan.lowering.context import LoweringContext, lowering
from edgeinfer.plan.lowering.conv_geometry import activation_fields
from edgeinfer.plan.lowering.instance_norm import Affine, blocks_of_pixels, emit_float_statistics, picture_size
from edgeinfer.plan.lowering.quantization import ByteScale, byte_scale

# Channels of a task that adds up.
GROUP_CHANNELS = 64
# float32 in the 16 bytes whose multiples decide from which pixel ONNX Runtime's sums are counted.
ALIGNED_FLOATS = 4

# A kernel may round and divide numbers the quick way up to here: their integers fit into 32 bits.
MOST_STEPS, MOST_DIVIDED = 2.0**30, 2.0**70


@lowering("QInstanceNormalization", domain=FUSED)
def lower_quantized_instance_norm(node: Node, context: LoweringContext) -> None:
    """Lower an InstanceNormalization that writes bytes, and reads bytes or float32."""
    x, scale, bias, residual = node.inputs[0], *(node.input(index) for index in (3, 4, 7))
    of = byte_scale(node, context, 1, x) if node.input(1) else None
    added = byte_scale(node, context, 8, residual) if node.input(8) else None
    context.require_dtype(DType.FLOAT32, *([] if of else [x]), scale, bias, *([] if added else [residual]))
    if of:
        affine = _emit_byte_statistics(node, context, x, of, scale, bias)
    else:
        affine = emit_float_statistics(node, context, x, scale, bias)
    _emit_scale_shift(node, context, affine, of, added)


def _emit_byte_statistics(node: Node, context: LoweringContext, x: str, of: ByteScale, scale: str, bias: str) -> Affine:
    """Append the three steps that make scales and shifts of a picture of bytes."""
    batch, pixels, channels = picture_size(node, context, x)
    only, lanes = context.kernels.only, context.kernels.lanes
    adding = only("qu8_channel_sums")
    count, task_sums = adding.traits["sums"], adding.traits["task_sums"]
    pitch = math.ceil(channels / lanes) * lanes
    starts = ALIGNED_FLOATS if pixels % ALIGNED_FLOATS else 1
    groups, chunks = math.ceil(channels / GROUP_CHANNELS), math.ceil(pixels / EXACT_ORDER_PIXELS)
    sums = context.temporary(f"{node.name}.sums", (batch, starts, chunks, count, pitch))
    squares = context.temporary(f"{node.name}.squares", (batch, chunks, count, pitch))
    affine = context.temporary(f"{node.name}.affine", (batch, 2, pitch))
    shared: dict[str, int | float | str] = {
        "x": x, "sums": sums, "squares": sums, "gamma": "", "beta": "", "affine": "", "epsilon": 0.0,
        "pixels": pixels, "channels": channels, "pitch": pitch, "starts": starts, "chunks": chunks,
        "chunk_pixels": EXACT_ORDER_PIXELS, "group_channels": GROUP_CHANNELS, "groups": groups,
        "tiles": batch * chunks * groups * count // task_sums,
        "flip": of.flip, "zero_point": of.unsigned_zero_point, "scale": of.scale,
    }  # fmt: skip
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    merge = {
        **shared, "squares": squares, "gamma": scale, "beta": bias, "affine": affine, "epsilon": epsilon,
        "tiles": batch * pitch // lanes,
    }  # fmt: skip
    scratch = 4 * (lanes + 3 * GROUP_CHANNELS)
    context.step(adding, node, shared, (sums,), scratch_bytes=scratch)
    squared = {**shared, "squares": squares}
    context.step(only("qu8_channel_squares"), node, squared, (squares,), scratch_bytes=scratch)
    context.step(only("qu8_merge_sums"), node, merge, (affine,), scratch_bytes=scratch)
    return Affine(affine, pitch)


def _emit_scale_shift(
    node: Node, context: LoweringContext, affine: Affine, of: ByteScale | None, added: ByteScale | None
) -> None:
    """Append the last step; ``of`` and ``added`` are the scales of x and the residual where these hold bytes."""
    x, residual, y = node.inputs[0], node.input(7), node.outputs[0]
    batch, pixels, channels = picture_size(node, context, x)
    to = byte_scale(node, context, 5, y)
    task_pixels, tasks = blocks_of_pixels(pixels, channels, context.threads)
    # Bounds of numbers before division and rounding, which keep their order, are bounds of integers behind them.
    name, parameters = node.attributes.get("activation", ""), node.attributes.get("activation_parameters", ())
    if name not in CLAMPS:
        name, parameters = "Clip", ()
    low, high = integer_bounds(name, parameters, np.float32(to.scale), to.zero_point, context.dtype(y))
    activation = activation_fields(node)
    values: dict[str, int | float | str] = {
        "x": x, "affine": affine.name, "affine_image": 2 * affine.pitch, "residual": residual, "y": y,
        "pixels": pixels, "channels": channels, "pitch": affine.pitch, "task_pixels": task_pixels,
        "pixel_tasks": tasks, "tiles": batch * tasks, "y_zero_point": to.zero_point, "y_scale": to.scale,
        "y_low": float(low), "y_high": float(high), "activation": activation["activation"],
        "parameter_0": activation["parameter_0"], "parameter_1": activation["parameter_1"],
        "bounded": int(_largest_number(node, context, pixels, added) < min(MOST_STEPS * to.scale, MOST_DIVIDED)),
        **_number_fields("x", of), **_number_fields("residual", added),
    }  # fmt: skip
    family = ("qu8" if of else "f32_qu8") + "_scale_shift" + ("_bytes" if added else "")
    kernel = context.kernels.only(family)
    group = 4 * context.kernels.lanes
    scratch = 8 * (channels + group) if channels % group else 0
    in_place = tuple((name, y) for name in (x, residual) if name and context.dtype(name) is context.dtype(y))
    context.step(kernel, node, values, (y,), scratch_bytes=scratch, in_place=in_place)


def _largest_number(node: Node, context: LoweringContext, pixels: int, added: ByteScale | None) -> float:
    """No smaller than any number before it is quantized, infinite where that is not known.

    Of n numbers none is farther from their mean than the root of n standard deviations.
    """
    gamma, beta = (context.constant(node.input(index)) for index in (3, 4))
    if gamma is None or beta is None or not node.input(1) or (node.input(7) and not added):
        return math.inf
    if node.attributes.get("epsilon", 1e-5) <= 0:
        return math.inf
    residual = 255 * added.scale if added else 0.0
    largest = 2 * math.sqrt(pixels) * np.abs(gamma).max() + np.abs(beta).max() + residual
    return float(largest) if np.isfinite(largest) else math.inf


def _number_fields(operand: str, scale: ByteScale | None) -> dict[str, int | float | str]:
    """Params fields that tell what an operand's bytes stand for."""
    flip, zero_point, factor = (scale.flip, scale.unsigned_zero_point, scale.scale) if scale else (0, 0, 1.0)
    return {f"{operand}_flip": flip, f"{operand}_zero_point": zero_point, f"{operand}_scale": factor}
