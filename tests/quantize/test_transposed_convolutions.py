"""Networks that end in transposed convolutions, as segmentation networks do."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.ops import infer_types, run_graph
from edgeinfer.passes import DEFAULT_PASSES, count_operators, run_passes
from edgeinfer.quantize import PostTraining
from edgeinfer.quantize.biases import correct_biases
from edgeinfer.quantize.layers import find_layers
from edgeinfer.quantize.metrics import worst_psnr
from edgeinfer.quantize.observation import observe
from edgeinfer.records import altered
from edgeinfer.runtime.session import Session


@pytest.fixture
def decoder() -> Graph:
    """A strided convolution and two transposed ones back to nearly the size of the picture."""
    random = np.random.default_rng(5)
    graph = Graph("decoder", ["image"], ["mask"], [], {"image": TensorType(DType.FLOAT32, (1, 3, 24, 24))})

    def constant(*shape: int) -> str:
        fan_in = max(1, int(np.prod(shape[1:])))
        return graph.add_constant("w", (random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))

    graph.nodes = [
        Node("Conv", ["image", constant(16, 3, 5, 5), constant(16)], ["a"], {"strides": [4, 4]}, "down"),
        Node("Relu", ["a"], ["b"], {}, "relu"),
        Node("ConvTranspose", ["b", constant(16, 20, 2, 2), constant(20)], ["c"], {"strides": [2, 2]}, "up"),
        Node("Relu", ["c"], ["d"], {}, "relu_up"),
        Node("ConvTranspose", ["d", constant(20, 2, 4, 4), constant(2)], ["mask"],
             {"strides": [2, 2], "pads": [1, 1, 1, 1]}, "mask"),
    ]  # fmt: skip
    graph.types = infer_types(graph)[0]
    return run_passes(graph, DEFAULT_PASSES)[0]


def test_transposed_convolutions_run_on_integers(decoder, samples, backend):
    result = PostTraining(backend, samples, keep_slow=True).run(decoder)
    assert count_operators(result.graph) == {
        "QuantizeLinear": 1, "edgeinfer.QConv": 1, "edgeinfer.QConvTranspose": 2,
    }  # fmt: skip
    assert result.integer_share == 1
    assert worst_psnr(result.expected, result.outputs) > 30
    expected = run_graph(result.graph, samples[0])["mask"]
    with Session(result.graph, threads=2) as session:
        assert session.plan({"image": (1, 3, 24, 24)}).host_steps() == []
        np.testing.assert_allclose(session.run(samples[0])["mask"], expected, rtol=1e-6)


def test_their_biases_make_up_for_rounded_weights(decoder, samples, backend):
    seen = observe(backend, decoder, samples, False)
    shapes = {name: tuple(known.shape or ()) for name, known in infer_types(decoder)[0].items()}
    layers = [layer for layer in find_layers(decoder, shapes)[0] if layer.name == "up"]
    coarse = {"up": np.full(decoder.constants[layers[0].weight].shape, 30, np.int8)}
    corrected = correct_biases(decoder, layers, coarse, seen)
    (node,) = [node for node in corrected.nodes if node.name == "up"]
    weight = decoder.constants[layers[0].weight]
    scales = np.abs(weight).max(axis=(0, 2, 3)) / 127
    rough = altered(corrected, constants={**corrected.constants, layers[0].weight: 30 * np.ones_like(
        weight) * scales[:, None, None]})  # fmt: skip
    # With strides as large as the kernel every output sees one tap, on average over positions each as often.
    activation = {key: value for key, value in node.attributes.items() if not key.startswith("activation")}
    for graph in (decoder, rough):
        (place,) = [index for index, other in enumerate(graph.nodes) if other.name == "up"]
        graph.nodes[place] = altered(graph.nodes[place], attributes=activation)
        graph.outputs = list(node.outputs)
        graph.nodes = graph.nodes[: place + 1]
    means = [
        np.mean([run_graph(graph, feeds)[node.outputs[0]].mean(axis=(0, 2, 3)) for feeds in samples], axis=0)
        for graph in (decoder, rough)
    ]
    np.testing.assert_allclose(means[0], means[1], atol=1e-4)
