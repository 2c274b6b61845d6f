"""Rounding weights so that products change least, not the weights themselves.

With x the inputs that a layer sees and H = E[x x^T], the error of a row of weights is ``e H e^T`` for ``e = rounded -
weights``. Columns are rounded one after the other, and what one loses is made up for by those not rounded yet.

Source: Frantar et al., GPTQ, ICLR 2023 (optimal brain quantization with the inverse of H in Cholesky form).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import Graph, Node
from edgeinfer.ops.pad import pad_array
from edgeinfer.quantize.backend import Backend, Feeds
from edgeinfer.quantize.layers import Layer
from edgeinfer.quantize.observation import with_outputs
from edgeinfer.quantize.scales import quantized_weight, weight_scales

# Positions of a picture that enter H at most, and of all pictures together; rows of a matrix likewise.
PATCHES, ALL_PATCHES = 256, 8192
# Larger H cost too much time and memory; such layers have sums so long that errors average out.
LARGEST_DEPTH = 2560
# Columns rounded before all others learn of it.
_BLOCK = 32
# Share of H's mean diagonal added to it: directions seen too rarely must not be trusted.
DAMPING = 0.01


def input_moments(
    backend: Backend, graph: Graph, layers: Sequence[Layer], samples: list[Feeds]
) -> dict[str, np.ndarray]:
    """H of layers by name, float64 [groups, depth, depth], where depth is not too large.

    Args:
        backend: runs the float model.
        graph: the float model.
        layers: its layers.
        samples: calibration data.
    """
    small = [layer for layer in layers if _has_rows(layer) and _depth(graph, layer) <= LARGEST_DEPTH]
    inputs = [layer.node.inputs[0] for layer in small if layer.node.inputs[0] not in graph.inputs]
    generator = np.random.default_rng(0)
    patches = min(PATCHES, -(-ALL_PATCHES // len(samples)))
    moments: dict[str, np.ndarray] = {}
    with backend.open(with_outputs(graph, inputs)) as run:
        for feeds in samples:
            values = {**feeds, **run(feeds)}
            for layer in small:
                x = _patches(
                    layer.node, graph.constants[layer.weight], values[layer.node.inputs[0]], patches, generator
                )
                moment = np.matmul(x.transpose(0, 2, 1), x) / (x.shape[1] * len(samples))
                moments[layer.name] = moments[layer.name] + moment if layer.name in moments else moment
    return moments


def _has_rows(layer: Layer) -> bool:
    """Whether an output is a row of weights times inputs: outputs of transposed convolutions see parts of theirs."""
    return layer.node.op != "ConvTranspose"


def _depth(graph: Graph, layer: Layer) -> int:
    weight = graph.constants[layer.weight]
    return weight.size // weight.shape[layer.axis]


def _patches(
    node: Node, weight: np.ndarray, x: np.ndarray, most: int, generator: np.random.Generator
) -> np.ndarray:  # fmt: skip
    """What some outputs of a layer see of its input, float64 [groups, positions, depth]."""
    if node.op != "Conv":
        rows = x.reshape(-1, x.shape[-1])
        chosen = generator.permutation(rows.shape[0])[:most]
        return rows[chosen][None].astype(np.float64)
    attributes = node.attributes
    up = attributes.get("upsample", (1, 1))
    picture = x[0] if tuple(up) == (1, 1) else x[0].repeat(up[0], axis=1).repeat(up[1], axis=2)
    pads = attributes.get("pads") or [0, 0, 0, 0]
    if any(pads):
        picture = pad_array(
            picture, [(0, 0), (pads[0], pads[2]), (pads[1], pads[3])], attributes.get("pad_mode", "constant")
        )
    strides, dilations = attributes.get("strides") or (1, 1), attributes.get("dilations") or (1, 1)
    kernel = weight.shape[2:]
    spans = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
    heights = np.arange(0, picture.shape[1] - spans[0], strides[0])
    widths = np.arange(0, picture.shape[2] - spans[1], strides[1])
    places = generator.permutation(heights.size * widths.size)[:most]
    top, left = heights[places // widths.size], widths[places % widths.size]
    rows = top[:, None, None] + (np.arange(kernel[0]) * dilations[0])[None, :, None]
    columns = left[:, None, None] + (np.arange(kernel[1]) * dilations[1])[None, None, :]
    found = picture[:, rows, columns]
    groups = attributes.get("group", 1)
    by_group = found.reshape(groups, found.shape[0] // groups, places.size, -1).transpose(0, 2, 1, 3)
    return by_group.reshape(groups, places.size, -1).astype(np.float64)


def rounded_weights(weight: np.ndarray, axis: int, moment: np.ndarray | None) -> np.ndarray:
    """Weights as int8, with the scales that ``weight_scales`` gives, rounded for inputs of the given second moments.

    Args:
        weight: float32, output channels along ``axis``, which is 0, or 1 for a matrix or a transposed convolution.
        axis: axis of output channels.
        moment: float64 [groups, depth, depth]; None: each weight is rounded by itself.
    """
    scale = weight_scales(weight, axis)
    if moment is None:
        return quantized_weight(weight, scale, axis)
    groups, depth, _ = moment.shape
    rows = np.moveaxis(weight, axis, 0).reshape(groups, -1, depth).astype(np.float64)
    scales = scale.astype(np.float64).reshape(groups, -1)
    damping = DAMPING * np.trace(moment, axis1=1, axis2=2) / depth + 1e-12
    moment = moment + damping[:, None, None] * np.eye(depth)
    # Columns that see the most are rounded first, while all others can still make up for them.
    order = np.argsort(-np.einsum("gii->gi", moment), axis=1)
    moment = np.take_along_axis(np.take_along_axis(moment, order[:, :, None], 1), order[:, None, :], 2)
    rest = np.take_along_axis(rows, order[:, None, :], 2)
    # Upper triangular U with inverse(H) = U^T U.
    upper = np.linalg.cholesky(np.linalg.inv(moment)).transpose(0, 2, 1)
    integers = np.empty(rest.shape, np.int8)
    for start in range(0, depth, _BLOCK):
        end = min(start + _BLOCK, depth)
        errors = np.empty((groups, rest.shape[1], end - start))
        for column in range(start, end):
            values = rest[:, :, column]
            nearest = np.clip(np.rint(values / scales), -127, 127)
            integers[:, :, column] = nearest
            error = (values - nearest * scales) / upper[:, column, column][:, None]
            errors[:, :, column - start] = error
            rest[:, :, column + 1 : end] -= error[:, :, None] * upper[:, None, column, column + 1 : end]
        # Columns far behind only have to know of a whole block's errors: one product instead of many small ones.
        rest[:, :, end:] -= errors @ upper[:, start:end, end:]
    back = np.argsort(order, axis=1)
    integers = np.take_along_axis(integers, back[:, None, :], 2)
    moved = np.moveaxis(weight, axis, 0).shape
    return np.ascontiguousarray(np.moveaxis(integers.reshape(moved), 0, axis))
