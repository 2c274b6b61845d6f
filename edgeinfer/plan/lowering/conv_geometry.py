"""The numbers of a convolution, and the params fields that all convolution kernels share."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.activation_codes import ACTIVATION_CODES, CLAMPS
from edgeinfer.graph import Node
from edgeinfer.plan.kernel_set import KernelRow
from edgeinfer.plan.lowering.context import LoweringContext, NotNative
from edgeinfer.records import NamedTuple

PAD_MODES = {"constant": 0, "reflect": 1, "edge": 2}


class ConvGeometry(NamedTuple):
    """The numbers of a two-dimensional convolution, channels last.

    Attributes are named as in the kernels' params; ``pads`` is (top, left); ``channels`` counts one group.
    ``nominal_taps`` are those of the convolution of which this is one phase; 0 means its own.
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
    nominal_taps: int = 0

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of the whole convolution, as its definition has them."""
        pixels = self.batch * self.out_height * self.out_width
        return pixels * self.out_channels * self.channels * (self.nominal_taps or self.kernel[0] * self.kernel[1])

    @property
    def end_pads(self) -> tuple[int, int]:
        """The larger of the paddings before and after, in rows and in columns of the upsampled picture."""
        sizes = zip(
            (self.height, self.width), (self.out_height, self.out_width), self.kernel, self.strides, self.dilations,
            self.upsample, self.pads, strict=True,
        )  # fmt: skip
        rows, columns = (
            max(pad, (out - 1) * stride + (kernel - 1) * dilation + 1 - pad - size * factor)
            for size, out, kernel, stride, dilation, factor, pad in sizes
        )
        return rows, columns

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
        return self._replace(batch=1, height=1, width=pixels, out_height=1, out_width=pixels)


def conv_geometry(node: Node, context: LoweringContext, weight: str = "") -> ConvGeometry:
    """Read the geometry of a FUSED convolution in NHWC layout; ``weight`` is input 1 unless it is named."""
    batch, height, width, all_channels = context.shape(node.inputs[0])
    out_channels, channels, *kernel = context.shape(weight or node.inputs[1])
    _, out_height, out_width, _ = context.shape(node.outputs[0])
    attributes = node.attributes
    pads = attributes.get("pads", [0, 0, 0, 0])
    groups = attributes.get("group", 1)
    if groups * channels != all_channels:
        raise NotNative(f"{groups} groups of {channels} channels do not make {all_channels}")
    return ConvGeometry(
        batch, height, width, channels, out_height, out_width, out_channels, groups,
        (kernel[0], kernel[1]), tuple(attributes.get("strides", [1, 1])), tuple(attributes.get("dilations", [1, 1])),
        (pads[0], pads[1]), tuple(attributes.get("upsample", [1, 1])),
        PAD_MODES[attributes.get("pad_mode", "constant")],
    )  # fmt: skip


def activation_fields(node: Node) -> dict[str, int | float]:
    """Params fields of a node's fused activation: bounds for those that clamp, a code for the others."""
    fields: dict[str, int | float] = {
        "activation": 0, "low": -math.inf, "high": math.inf, "parameter_0": 0.0, "parameter_1": 0.0,
    }  # fmt: skip
    name = node.attributes.get("activation")
    if not name:
        return fields
    parameters = [float(value) for value in node.attributes.get("activation_parameters", [])]
    if name in CLAMPS:
        fields["low"], fields["high"] = parameters if parameters else CLAMPS[name]
    else:
        fields["activation"] = ACTIVATION_CODES[name]
        for index, value in enumerate(parameters[:2]):
            fields[f"parameter_{index}"] = value
    return fields


def conv_values(
    node: Node, geometry: ConvGeometry, y_strides: tuple[int, int, int, int]
) -> dict[str, int | float | str]:
    """Params fields that do not depend on tiles; the fields of tasks are 1 until they are set.

    Args:
        node: the node, for its activation.
        geometry: the convolution's numbers.
        y_strides: floats from output pixel to pixel, row to row, image to image, and the first pixel's index.
    """
    y_pixel, y_row, y_image, y_start = y_strides
    return {
        "batch": geometry.batch, "height": geometry.height, "width": geometry.width,
        "channels": geometry.channels, "x_channels": geometry.channels * geometry.groups,
        "out_height": geometry.out_height, "out_width": geometry.out_width, "out_channels": geometry.out_channels,
        "y_pixel": y_pixel, "y_row": y_row, "y_image": y_image, "y_start": y_start, "groups": geometry.groups,
        "kernel_height": geometry.kernel[0], "kernel_width": geometry.kernel[1],
        "stride_y": geometry.strides[0], "stride_x": geometry.strides[1],
        "dilation_y": geometry.dilations[0], "dilation_x": geometry.dilations[1],
        "pad_top": geometry.pads[0], "pad_left": geometry.pads[1], "pad_mode": geometry.pad_mode,
        "upsample_y": geometry.upsample[0], "upsample_x": geometry.upsample[1],
        "task_blocks": 1, "block_tasks": 1, "row_shares": 1, "border": "",
        **activation_fields(node),
    }  # fmt: skip


class FusedConv(NamedTuple):
    """One convolution of floats that is to become a step, whatever algorithm computes it.

    Attributes:
        node: the node that it stands for.
        geometry: its numbers.
        x: name of the tensor that it reads.
        weight: name of the constant [out, channels of a group, kernel height, kernel width].
        bias: name of the constant [out], or ``""``.
        residual: name of the tensor that is added, or ``""``.
        y: name of the tensor that it writes.
        y_strides: floats from output pixel to pixel, row to row, image to image, and the first pixel's index.
    """

    node: Node
    geometry: ConvGeometry
    x: str
    weight: str
    bias: str
    residual: str
    y: str
    y_strides: tuple[int, int, int, int]

    def append(
        self,
        context: LoweringContext,
        kernel: KernelRow,
        values: dict[str, int | float | str],
        scratch_bytes: int,
        in_place: bool = True,
    ) -> None:
        """Append the step.

        Args:
            context: the plan under construction.
            kernel: the kernel that computes it.
            values: params fields beside those of ``conv_values`` and the tensors that every algorithm has.
            scratch_bytes: memory that each worker needs.
            in_place: whether the residual may lie in the output's place.
        """
        own = conv_values(self.node, self.geometry, self.y_strides)
        own.update(x=self.x, residual=self.residual, y=self.y)
        own.update(self._normalised_source(context, kernel))
        own.update(values)
        context.step(
            kernel, self.node, own, (self.y,), scratch_bytes=scratch_bytes, macs=self.geometry.macs,
            in_place=((self.residual, self.y),) if self.residual and in_place else (),
        )  # fmt: skip

    def _normalised_source(self, context: LoweringContext, kernel: KernelRow) -> dict[str, int | float | str]:
        """Fields of kernels that normalise what they read: with the picture that x is made of where only this reads x.

        So no step writes x: it is normalised while its pixels are copied to a patch.
        """
        if not kernel.traits.get("normalises"):
            return {}
        picture = context.normalised.get(self.x)
        whole_vectors = self.geometry.channels % context.kernels.lanes_of(kernel) == 0
        if not picture or not whole_vectors or context.readers.get(self.x, 1) > 1:
            return {"affine": "", "affine_image": 0, "affine_pitch": 0, "x_low": -math.inf, "x_high": math.inf}
        return {
            "x": picture.source, "affine": picture.affine, "affine_image": picture.image_floats,
            "affine_pitch": picture.pitch, "x_low": picture.low, "x_high": picture.high,
        }  # fmt: skip


def pack_bias(conv: FusedConv, context: LoweringContext, kernel: KernelRow) -> str:
    """A constant with the bias padded to whole blocks of columns in each group; zeros if there is none."""
    columns, dtype = kernel.traits["columns"], kernel.float_dtype
    groups, group_channels = conv.geometry.groups, conv.geometry.out_channels // conv.geometry.groups

    def pack(values: np.ndarray) -> np.ndarray:
        if group_channels % columns == 0:
            return values.astype(dtype, copy=False)
        padded = np.zeros((groups, math.ceil(group_channels / columns) * columns), dtype)
        padded[:, :group_channels] = values.reshape(groups, group_channels)
        return padded

    if conv.bias:
        return context.packed(conv.bias, f"bias{groups}x{columns}.{dtype.str}", pack)
    return context.new_constant(f"{conv.node.name}.bias", pack(np.zeros(conv.geometry.out_channels, np.float32)))
