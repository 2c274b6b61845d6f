"""Convolution and transposed convolution (ONNX Conv, ConvTranspose), plain and fused."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import FUSED, Dim, Shape, TensorType
from edgeinfer.graph.dims import add, multiply
from edgeinfer.ops.channels_last import from_channels_last, to_channels_last
from edgeinfer.ops.fused_activation import apply_activation
from edgeinfer.ops.pad import pad_array
from edgeinfer.ops.registry import Inference, operator
from edgeinfer.ops.spatial import make_window, output_dims

_NUMPY_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge"}
_ALL = slice(None)


def conv_shape(
    inference: Inference, x: Shape | None, upsample: Sequence[int] | None = None, weight_input: int = 1
) -> Shape | None:
    """Shape of a convolution's output, channels first, as that of ``x``; None if it is unknown."""
    weight = inference.shape(weight_input)
    if x is None or weight is None:
        return None
    attribute = inference.attribute
    kernel = [int(dim) for dim in weight[2:]]
    if isinstance(x[1], int) and x[1] != int(weight[1]) * attribute("group", 1):
        raise inference.error(f"input has {x[1]} channels, weights {list(weight)} take {weight[1]} a group")
    if len(x) != len(weight):
        raise inference.error(f"input of rank {len(x)} and weights of rank {len(weight)}")
    sizes: list[Dim] = [
        multiply(dim, factor) for dim, factor in zip(x[2:], upsample or [1] * (len(x) - 2), strict=True)
    ]
    window = make_window(
        kernel, attribute("strides"), attribute("dilations"), attribute("pads"),
        attribute("auto_pad", "NOTSET"), sizes,
    )  # fmt: skip
    return (x[0], weight[0], *output_dims(sizes, window))


def _infer_conv(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(0), conv_shape(inference, inference.shape(0)))]


@operator("Conv", _infer_conv)
def conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> np.ndarray:
    """Convolution of x [N, C, …] with weight [O, C / group, k…]; one matrix product for each tap."""
    window = make_window(weight.shape[2:], strides, dilations, pads, auto_pad, x.shape[2:])
    sizes = [int(dim) for dim in output_dims(x.shape[2:], window)]
    padded = np.pad(x, [(0, 0), (0, 0), *window.pads])
    outputs = weight.shape[0] // group
    result = np.zeros((x.shape[0], group, outputs, int(np.prod(sizes))), x.dtype)
    grouped = weight.reshape(group, outputs, *weight.shape[1:])
    for tap in itertools.product(*map(range, window.kernel)):
        places = tuple(
            slice(t * d, t * d + (size - 1) * s + 1, s)
            for t, d, s, size in zip(tap, window.dilations, window.strides, sizes, strict=True)
        )
        part = padded[(_ALL,) * 2 + places]
        columns = part.reshape(x.shape[0], group, weight.shape[1], -1)
        result += np.matmul(grouped[(_ALL,) * 3 + tap], columns)
    result = result.reshape(x.shape[0], weight.shape[0], *sizes)
    if bias is not None:
        result += bias.reshape(-1, *[1] * len(sizes))
    return result


def fused_conv_shape(inference: Inference, weight_input: int = 1) -> Shape | None:
    """Shape of a fused convolution's output in its own layout; None if it is unknown."""
    x, last = inference.shape(0), inference.attribute("layout", "NCHW") == "NHWC"
    if x is not None and last:
        x = (x[0], x[3], x[1], x[2])
    shape = conv_shape(inference, x, inference.attribute("upsample", [1, 1]), weight_input)
    return (shape[0], shape[2], shape[3], shape[1]) if shape is not None and last else shape


def _infer_fused_conv(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(0), fused_conv_shape(inference))]


@operator("Conv", _infer_fused_conv, domain=FUSED)
def fused_conv(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    residual: np.ndarray | None = None,
    border: np.ndarray | None = None,
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    pad_mode: str = "constant",
    upsample: Sequence[int] = (1, 1),
    activation: str = "",
    activation_parameters: Sequence[float] = (),
    layout: str = "NCHW",
) -> np.ndarray:
    """``act(conv(pad(upsample(x))) + bias + residual)``; weight is [O, C / group, kH, kW] in either layout.

    Constant padding is with zeros, or with ``border[c]`` in channel c.
    """
    if layout == "NHWC":
        x = from_channels_last(x)
    x = x.repeat(upsample[0], axis=2).repeat(upsample[1], axis=3)
    if pads:
        widths = [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])]
        padded = pad_array(x, widths, _NUMPY_PAD_MODES[pad_mode])
        if border is not None and pad_mode == "constant":
            inside = pad_array(np.ones(x.shape, bool), widths, "constant")
            padded = np.where(inside, padded, border.reshape(1, -1, 1, 1)).astype(x.dtype)
        x = padded
    y = conv(x, weight, bias, strides=strides, dilations=dilations, group=group)
    if layout == "NHWC":
        y = to_channels_last(y)
    if residual is not None:
        y = y + residual
    return apply_activation(y, activation, activation_parameters)


def _transpose_sizes(inference: Inference, x: Shape, weight_input: int) -> tuple[list[Dim], list[tuple[int, int]]]:
    """Spatial output sizes and pads of a transposed convolution."""
    weight = inference.shape(weight_input)
    assert weight is not None
    attribute, rank = inference.attribute, len(x) - 2
    kernel = [int(dim) for dim in weight[2:]]
    strides = attribute("strides") or [1] * rank
    dilations = attribute("dilations") or [1] * rank
    output_padding = attribute("output_padding") or [0] * rank
    return transpose_sizes(
        x[2:], kernel, strides, dilations, output_padding, attribute("pads"), attribute("output_shape"),
        attribute("auto_pad", "NOTSET"),
    )  # fmt: skip


def transpose_sizes(
    sizes: Sequence[Dim],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    output_padding: Sequence[int],
    pads: Sequence[int] | None,
    output_shape: Sequence[int] | None,
    auto_pad: str,
) -> tuple[list[Dim], list[tuple[int, int]]]:
    """Output sizes and pads (before, after) as ONNX ConvTranspose defines them."""
    rank = len(kernel)
    result: list[Dim] = []
    pairs = []
    for axis in range(rank):
        reach = (kernel[axis] - 1) * dilations[axis] + 1 + output_padding[axis]
        full = add(multiply(add(sizes[axis], -1), strides[axis]), reach)
        if output_shape or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            wanted: Dim = output_shape[-rank:][axis] if output_shape else multiply(sizes[axis], strides[axis])
            if not isinstance(full, int) or not isinstance(wanted, int):
                raise ValueError("output_shape and auto_pad need known sizes")
            total = max(full - wanted, 0)
            half = total // 2
            before = half if auto_pad == "SAME_UPPER" else total - half
            pairs.append((before, total - before))
            result.append(wanted)
        else:
            before, after = (pads[axis], pads[axis + rank]) if pads else (0, 0)
            pairs.append((before, after))
            result.append(add(full, -before - after))
    return result, pairs


def conv_transpose_shape(inference: Inference, weight_input: int = 1) -> Shape | None:
    """Output shape of a transposed convolution in either layout, None if unknown."""
    x, weight = inference.shape(0), inference.shape(weight_input)
    last = inference.attribute("layout", "NCHW") == "NHWC"
    if x is None or weight is None:
        return None
    if last:
        x = (x[0], x[-1], *x[1:-1])
    sizes, _ = _transpose_sizes(inference, x, weight_input)
    channels = multiply(weight[1], inference.attribute("group", 1))
    return (x[0], *sizes, channels) if last else (x[0], channels, *sizes)


def _infer_conv_transpose(inference: Inference) -> list[TensorType]:
    return [TensorType(inference.dtype(0), conv_transpose_shape(inference))]


@operator("ConvTranspose", _infer_conv_transpose)
def conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> np.ndarray:
    """Transposed convolution of x [N, C, …] with weight [C, O / group, k…]: every tap adds a scattered product."""
    kernel, rank = weight.shape[2:], x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    output_padding = output_padding or [0] * rank
    sizes, pairs = transpose_sizes(
        x.shape[2:], kernel, strides, dilations, output_padding, pads, output_shape, auto_pad
    )
    full = [int(size) + before + after for size, (before, after) in zip(sizes, pairs, strict=True)]
    reach = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], strides, kernel, dilations, strict=True)]
    room = [max(a, b) for a, b in zip(full, reach, strict=True)]
    outputs = weight.shape[1]
    result = np.zeros((x.shape[0], group, outputs, *room), x.dtype)
    columns = x.reshape(x.shape[0], group, -1, int(np.prod(x.shape[2:])))
    grouped = weight.reshape(group, -1, *weight.shape[1:])
    for tap in itertools.product(*map(range, kernel)):
        matrix = grouped[(_ALL,) * 3 + tap].transpose(0, 2, 1)
        part = np.matmul(matrix, columns).reshape(x.shape[0], group, outputs, *x.shape[2:])
        places = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, s, n in zip(tap, dilations, strides, x.shape[2:], strict=True)
        )
        result[(_ALL,) * 3 + places] += part
    cut = tuple(slice(before, before + int(size)) for size, (before, _) in zip(sizes, pairs, strict=True))
    result = result.reshape(x.shape[0], group * outputs, *room)[(_ALL,) * 2 + cut]
    return result if bias is None else result + bias.reshape(-1, *[1] * rank)


@operator("ConvTranspose", _infer_conv_transpose, domain=FUSED)
def fused_conv_transpose(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    activation: str = "",
    activation_parameters: Sequence[float] = (),
    layout: str = "NCHW",
) -> np.ndarray:
    """``act(conv_transpose(x) + bias)``."""
    last = layout == "NHWC"
    y = conv_transpose(
        from_channels_last(x) if last else x, weight, bias, dilations=dilations, group=group,
        output_padding=output_padding, pads=pads, strides=strides,
    )  # fmt: skip
    return apply_activation(to_channels_last(y) if last else y, activation, activation_parameters)
