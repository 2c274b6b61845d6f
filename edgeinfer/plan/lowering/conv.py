"""Convolution: which kernel and tile, how weights are packed, how the picture is cut into tasks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.activation_codes import ACTIVATION_CODES, CLAMPS
from edgeinfer.graph import FUSED, DType, Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext, NotNative, lowering

PAD_MODES = {"constant": 0, "reflect": 1, "edge": 2}

# A patch and the weights of one block of output channels should stay in the second-level cache.
PATCH_BYTES = 256 * 1024
# Tasks smaller than this are not worth the atomic operation and the halo that they read twice.
TASK_MACS = 1_000_000
TASKS_PER_THREAD = 4


@dataclass(frozen=True)
class ConvGeometry:
    """The numbers of a two-dimensional convolution, channels last.

    Attributes are named as in the kernels' params; ``pads`` is (top, left); ``channels`` counts one group.
    """

    batch: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    out_channels: int
    groups: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]
    upsample: tuple[int, int]
    pad_mode: int

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of the whole convolution."""
        pixels = self.batch * self.out_height * self.out_width
        return pixels * self.out_channels * self.channels * self.kernel[0] * self.kernel[1]

    @property
    def is_pointwise(self) -> bool:
        """Whether each output pixel depends on the one input pixel at its own place."""
        unit = (1, 1)
        return (
            self.kernel == unit and self.strides == unit and self.upsample == unit
            and self.pads == (0, 0) and (self.out_height, self.out_width) == (self.height, self.width)
        )  # fmt: skip

    def flattened(self) -> ConvGeometry:
        """A pointwise convolution as one long row of pixels."""
        pixels = self.batch * self.height * self.width
        return dataclasses.replace(self, batch=1, height=1, width=pixels, out_height=1, out_width=pixels)


def conv_geometry(node: Node, context: LoweringContext) -> ConvGeometry:
    """Read the geometry of a FUSED Conv in NHWC layout."""
    batch, height, width, all_channels = context.shape(node.inputs[0])
    out_channels, channels, *kernel = context.shape(node.inputs[1])
    _, out_height, out_width, _ = context.shape(node.outputs[0])
    attributes = node.attributes
    pads = attributes.get("pads", [0, 0, 0, 0])
    groups = attributes.get("group", 1)
    if groups * channels != all_channels:
        raise NotNative(f"{groups} groups of {channels} channels do not make {all_channels}")
    return ConvGeometry(
        batch, height, width, channels, out_height, out_width, out_channels, groups,
        (kernel[0], kernel[1]), tuple(attributes.get("strides", [1, 1])), tuple(attributes.get("dilations", [1, 1])),
        (pads[0], pads[1]), tuple(attributes.get("upsample", [1, 1])), PAD_MODES[attributes.get("pad_mode", "constant")],
    )  # fmt: skip


def activation_fields(node: Node) -> dict[str, int | float]:
    """Params fields of a node's fused activation: bounds for those that clamp, a code for the others."""
    name = node.attributes.get("activation", "")
    parameters = [float(value) for value in node.attributes.get("activation_parameters", [])]
    fields: dict[str, int | float] = {
        "activation": 0, "low": -math.inf, "high": math.inf, "parameter_0": 0.0, "parameter_1": 0.0,
    }  # fmt: skip
    if name in CLAMPS:
        fields["low"], fields["high"] = parameters if parameters else CLAMPS[name]
    elif name:
        fields["activation"] = ACTIVATION_CODES[name]
        for index, value in enumerate(parameters[:2]):
            fields[f"parameter_{index}"] = value
    return fields


def choose_tile(rows: list[KernelRow], out_width: int, out_channels: int) -> KernelRow:
    """The kernel whose tiles waste the least on an output of this width and number of channels."""

    def padded_work(row: KernelRow) -> float:
        height, columns = row.traits["rows"], row.traits["columns"]
        work = math.ceil(out_width / height) * height * math.ceil(out_channels / columns) * columns
        # Loads per multiply-add: a tile of r rows and v vectors reads r + v values for r * v products.
        return work * (1 + 0.1 * (1 / height + 1 / columns))

    return min(rows, key=padded_work)


def pack_weight(weight: np.ndarray, groups: int, columns: int) -> np.ndarray:
    """Pack [out, channels, kh, kw] as [group, block, kh, kw, channel, columns], zeros beyond the last output."""
    out_channels, channels, kernel_height, kernel_width = weight.shape
    group_channels = out_channels // groups
    blocks = math.ceil(group_channels / columns)
    padded = np.zeros((groups, blocks * columns, channels, kernel_height, kernel_width), np.float32)
    padded[:, :group_channels] = weight.reshape(groups, group_channels, channels, kernel_height, kernel_width)
    split = padded.reshape(groups, blocks, columns, channels, kernel_height, kernel_width)
    return np.ascontiguousarray(split.transpose(0, 1, 4, 5, 3, 2))


def pack_bias(bias: np.ndarray | None, out_channels: int, groups: int, columns: int) -> np.ndarray:
    """The bias padded like the weights' blocks; zeros if there is none."""
    group_channels = out_channels // groups
    padded = np.zeros((groups, math.ceil(group_channels / columns) * columns), np.float32)
    if bias is not None:
        padded[:, :group_channels] = bias.reshape(groups, group_channels)
    return padded


@dataclass(frozen=True)
class Tasks:
    """How a convolution's output is cut: pixels and blocks of a task, tasks along each axis."""

    rows: int
    columns: int
    blocks: int
    row_tasks: int
    column_tasks: int
    block_tasks: int
    patch_bytes: int


def cut_tasks(geometry: ConvGeometry, tile_rows: int, tile_columns: int, threads: int) -> Tasks:
    """Cut the output so that patches fit the cache and all threads get several tasks."""
    kernel_height = (geometry.kernel[0] - 1) * geometry.dilations[0] + 1
    kernel_width = (geometry.kernel[1] - 1) * geometry.dilations[1] + 1

    def patch_columns(columns: int) -> int:
        tiled = math.ceil(columns / tile_rows) * tile_rows
        return (tiled - 1) * geometry.strides[1] + kernel_width

    def patch_bytes(rows: int, columns: int) -> int:
        return ((rows - 1) * geometry.strides[0] + kernel_height) * patch_columns(columns) * geometry.channels * 4

    columns = geometry.out_width
    while columns > 2 * tile_rows and patch_bytes(1, columns) > PATCH_BYTES:
        columns = math.ceil(columns / 2 / tile_rows) * tile_rows
    column_tasks = math.ceil(geometry.out_width / columns)

    wanted = max(1, min(TASKS_PER_THREAD * threads, geometry.macs // TASK_MACS))
    images = geometry.batch * geometry.groups
    rows = max(1, math.ceil(geometry.out_height / max(1, math.ceil(wanted / (images * column_tasks)))))
    while rows > 1 and patch_bytes(rows, columns) > PATCH_BYTES:
        rows -= 1
    row_tasks = math.ceil(geometry.out_height / rows)
    rows = math.ceil(geometry.out_height / row_tasks)

    blocks = math.ceil(geometry.out_channels // geometry.groups / tile_columns)
    pixel_tasks = images * row_tasks * column_tasks
    if threads > 1 and pixel_tasks < wanted and geometry.kernel == (1, 1) and columns > 2 * tile_rows:
        columns = max(tile_rows, math.ceil(geometry.out_width * pixel_tasks / wanted / tile_rows) * tile_rows)
        column_tasks = math.ceil(geometry.out_width / columns)
        pixel_tasks = images * row_tasks * column_tasks
    block_tasks = 1
    if pixel_tasks < wanted and threads > 1:
        block_tasks = min(blocks, math.ceil(wanted / pixel_tasks))
    task_blocks = math.ceil(blocks / block_tasks)
    return Tasks(
        rows, columns, task_blocks, row_tasks, column_tasks, math.ceil(blocks / task_blocks), patch_bytes(rows, columns)
    )


@lowering("Conv", domain=FUSED)
def lower_conv(node: Node, context: LoweringContext) -> None:
    """Lower a fused convolution in NHWC layout with constant weights."""
    x, weight, bias, residual, y = *(node.input(index) for index in range(4)), node.outputs[0]
    if node.attributes.get("layout") != "NHWC":
        raise NotNative("only channels-last convolutions have kernels")
    context.require_dtype(DType.FLOAT32, x, weight, bias, residual)
    if context.constant(weight) is None or (bias and context.constant(bias) is None):
        raise NotNative("the weights are computed at run time")
    geometry = conv_geometry(node, context)
    if geometry.is_pointwise and geometry.groups == 1:
        geometry = geometry.flattened()
    y_shape = context.shape(y)
    strides = (y_shape[3], y_shape[2] * y_shape[3], y_shape[1] * y_shape[2] * y_shape[3])
    emit_direct_conv(node, context, geometry, (x, weight, bias, residual, y), (*strides, 0))


def emit_direct_conv(
    node: Node,
    context: LoweringContext,
    geometry: ConvGeometry,
    tensors: tuple[str, str, str, str, str],
    y_strides: tuple[int, int, int, int],
) -> None:
    """Append a direct convolution.

    Args:
        node: the node that it stands for.
        context: the plan under construction.
        geometry: the convolution's numbers.
        tensors: names of x, weight, bias, residual, y; bias and residual may be ``""``.
        y_strides: floats from output pixel to pixel, row to row, image to image, and the first pixel's index.
    """
    x, weight, bias, residual, y = tensors
    group_channels = geometry.out_channels // geometry.groups
    kernel = choose_tile(context.kernels.family("f32_conv"), geometry.out_width, group_channels)
    columns = kernel.traits["columns"]
    tasks = cut_tasks(geometry, kernel.traits["rows"], columns, context.threads)
    groups = geometry.groups
    packed_weight = context.packed(weight, f"conv{groups}x{columns}", lambda a: pack_weight(a, groups, columns))
    if bias:
        packed_bias = context.packed(
            bias, f"bias{groups}x{columns}", lambda a: pack_bias(a, geometry.out_channels, groups, columns)
        )
    else:
        zeros = pack_bias(None, geometry.out_channels, groups, columns)
        packed_bias = context.new_constant(f"{node.name}.bias", zeros)
    y_pixel, y_row, y_image, y_start = y_strides
    values: dict[str, int | float | str] = {
        "x": x, "w": packed_weight, "bias": packed_bias, "residual": residual, "y": y,
        "batch": geometry.batch, "height": geometry.height, "width": geometry.width,
        "channels": geometry.channels, "x_channels": geometry.channels * groups,
        "out_height": geometry.out_height, "out_width": geometry.out_width, "out_channels": geometry.out_channels,
        "y_pixel": y_pixel, "y_row": y_row, "y_image": y_image, "y_start": y_start, "groups": groups,
        "kernel_height": geometry.kernel[0], "kernel_width": geometry.kernel[1],
        "stride_y": geometry.strides[0], "stride_x": geometry.strides[1],
        "dilation_y": geometry.dilations[0], "dilation_x": geometry.dilations[1],
        "pad_top": geometry.pads[0], "pad_left": geometry.pads[1], "pad_mode": geometry.pad_mode,
        "upsample_y": geometry.upsample[0], "upsample_x": geometry.upsample[1],
        "task_rows": tasks.rows, "task_columns": tasks.columns, "row_tasks": tasks.row_tasks,
        "column_tasks": tasks.column_tasks, "task_blocks": tasks.blocks, "block_tasks": tasks.block_tasks,
        "tiles": geometry.batch * groups * tasks.row_tasks * tasks.column_tasks * tasks.block_tasks,
        **activation_fields(node),
    }  # fmt: skip
    context.step(
        kernel, node, values, (y,), scratch_bytes=tasks.patch_bytes, macs=geometry.macs,
        in_place=((residual, y),) if residual else (),
    )  # fmt: skip
