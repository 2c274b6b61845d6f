"""Comparing two versions of a model layer by layer."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import InputError
from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import infer_types
from edgeinfer.tools.compare import Variant, compare
from edgeinfer.tools.quantize import quantize


def network(spoil: float = 0.0) -> Graph:
    """Three convolutions; ``spoil`` is added to a weight of the second."""
    random = np.random.default_rng(0)
    graph = Graph("chain", ["x"], ["y"])
    graph.types["x"] = TensorType(DType.FLOAT32, (1, 3, 20, 20))
    for index, (inputs, outputs) in enumerate(((3, 8), (8, 8), (8, 4))):
        weight = random.standard_normal((outputs, inputs, 3, 3)).astype(np.float32) / 6
        weight[0, 0, 0, 0] += spoil * (index == 1)
        graph.add_constant(f"w{index}", weight)
    relu = {"activation": "Relu", "pads": [1] * 4}
    graph.nodes = [
        Node("Conv", ["x", "w0"], ["a"], relu, "one", FUSED),
        Node("Conv", ["a", "w1"], ["b"], relu, "two", FUSED),
        Node("Conv", ["b", "w2"], ["y"], {"pads": [1] * 4}, "three", FUSED),
    ]
    graph.types = infer_types(graph)[0]
    return graph


@pytest.fixture
def samples():
    random = np.random.default_rng(1)
    return [{"x": random.random((1, 3, 20, 20), np.float32)} for _ in range(3)]


def test_layers_before_the_spoilt_one_are_equal_and_it_comes_first(samples):
    rows = compare(Variant(network()), Variant(network(0.3)), samples)
    assert {row.node for row in rows} == {"one", "two", "three"}
    by_name = {row.node: row for row in rows}
    assert by_name["one"].signal_to_noise == np.inf
    assert by_name["one"].largest == 0
    assert by_name["two"].signal_to_noise < 50
    assert rows[-1].node == "one"
    assert [row.signal_to_noise for row in rows] == sorted(row.signal_to_noise for row in rows)


def test_integers_are_compared_as_the_numbers_they_stand_for(samples):
    quantized = quantize(network(), samples, keep_slow=True).graph
    rows = compare(Variant(network()), Variant(quantized), samples)
    assert {row.node: row.op for row in rows} == dict.fromkeys(("one", "two", "three"), "Conv → QConv")
    assert all(25 < row.signal_to_noise < 80 for row in rows)
    assert all(row.first.sum() == row.second.sum() > 0 for row in rows)


def test_scaled_channels_are_compared_without_their_factors(samples):
    scaled = network()
    factors = np.geomspace(0.25, 4, 8).astype(np.float32)
    scaled.constants["w0"] = scaled.constants["w0"] * factors[:, None, None, None]
    scaled.constants["w1"] = scaled.constants["w1"] / factors[None, :, None, None]
    by_name = {row.node: row for row in compare(Variant(network()), Variant(scaled), samples)}
    assert by_name["one"].scaled
    assert not by_name["two"].scaled
    assert by_name["one"].signal_to_noise > 100


def test_two_cpu_levels_agree(samples):
    rows = compare(Variant(network()), Variant(network(), level="v128"), samples)
    assert all(row.signal_to_noise > 100 for row in rows)


def test_models_with_other_inputs_are_refused(samples):
    other = network()
    other.inputs, other.types["z"] = ["z"], other.types["x"]
    other.nodes[0].inputs[0] = "z"
    with pytest.raises(InputError, match="take different inputs"):
        compare(Variant(network()), Variant(other), samples)
