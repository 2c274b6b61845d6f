"""Whole models: what is rounded, what stays float, goals, bad data."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import FUSED, DType, Graph, Node, TensorType
from edgeinfer.ops import infer_types, run_graph
from edgeinfer.passes import count_operators
from edgeinfer.quantize import Goal, PostTraining
from edgeinfer.quantize.effects import widenings_by_effect
from edgeinfer.quantize.equalization import equalize
from edgeinfer.quantize.insertion import spelled_out
from edgeinfer.quantize.layers import chosen_nodes, find_layers
from edgeinfer.quantize.metrics import (
    agreement,
    cosine,
    expected_agreement,
    peak_signal_to_noise,
    signal_to_noise,
    worst_psnr,
)
from edgeinfer.quantize.observation import observe
from edgeinfer.quantize.sensitivity import keep_worst
from edgeinfer.records import altered
from edgeinfer.runtime.session import Session


def test_whole_network_runs_on_integers_and_stays_close(network, samples, backend):
    result = PostTraining(backend, samples).run(network)
    assert count_operators(result.graph) == {
        "MaxPool": 1, "QuantizeLinear": 1, "Reshape": 1, "edgeinfer.QAdd": 1, "edgeinfer.QConv": 3,
        "edgeinfer.QGlobalAveragePool": 1, "edgeinfer.QMatMul": 1,
    }  # fmt: skip
    assert result.integer_share == 1
    assert worst_psnr(result.expected, result.outputs) > 30
    assert [layer.name for layer in result.layers] == ["first", "second", "third", "classifier"]


def test_each_stage_is_told(network, samples, backend):
    told = []
    PostTraining(backend, samples, measure_all=True, progress=told.append).run(network)
    assert told[0] == f"running the float model on {len(samples)} samples"
    assert "measuring the damage of each layer: 4 of 4" in told
    assert told[-1] == "measuring times"


def test_session_gives_what_the_references_give(network, samples, backend):
    graph = PostTraining(backend, samples).run(network).graph
    expected = run_graph(graph, samples[0])["scores"]
    with Session(graph, threads=2) as session:
        assert session.plan({"image": (1, 3, 24, 24)}).host_steps() == []
        np.testing.assert_allclose(session.run(samples[0])["scores"], expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_every_method_gives_a_working_model(network, samples, backend, method):
    result = PostTraining(backend, samples, method).run(network)
    assert worst_psnr(result.expected, result.outputs) > 20


def test_layers_asked_for_stay_float(network, samples, backend):
    result = PostTraining(backend, samples, keep_float=["second"]).run(network)
    kept = [layer for layer in result.layers if not layer.integer]
    assert [(layer.name, layer.reason) for layer in kept] == [("second", "kept float as asked")]
    (node,) = [node for node in result.graph.nodes if node.name == "second"]
    assert node.op == "Conv"
    # The residual and its activation are fused again.
    assert node.attributes["activation"] == "Relu"
    assert node.input(3)


def test_goal_keeps_the_worst_layers_float(network, samples, backend):
    loose = PostTraining(backend, samples).run(network)
    value = worst_psnr(loose.expected, loose.outputs)
    result = PostTraining(backend, samples, goal=Goal("PSNR", worst_psnr, value + 3)).run(network)
    assert result.goal_value is not None
    assert result.goal_value >= value + 3
    kept = [layer for layer in result.layers if not layer.integer]
    assert kept
    assert all("too much damage for PSNR" in layer.reason for layer in kept)
    assert 0 < result.integer_share < 1
    assert all(layer.damage is not None for layer in result.layers)


def test_goal_beyond_reach_is_an_error(network, samples, backend):
    never = Goal("nothing", lambda expected, found: 0.0, 1.0)
    with pytest.raises(QuantizationError, match="cannot be held even with all layers float"):
        PostTraining(backend, samples, goal=never).run(network)


class SlowIntegers:
    """A backend for which one layer is slower on integers."""

    def __init__(self, backend) -> None:
        self.open = backend.open

    def node_seconds(self, graph, feeds):
        times = {"third"}
        of = {"Conv": 1.0, "MatMul": 1.0, "QConv": 1.0, "QMatMul": 1.0}
        slow = {node.name for node in graph.nodes if node.name in times and node.op == "QConv"}
        return {node.name: 5.0 if node.name in slow else of.get(node.op, 0.01) for node in graph.nodes}

    def compare_seconds(self, first, second, feeds):
        return tuple(sum(self.node_seconds(graph, feeds).values()) for graph in (first, second))


def test_a_layer_that_is_slower_on_integers_stays_float(network, samples, backend):
    slow = SlowIntegers(backend)
    result = PostTraining(slow, samples).run(network)
    assert [layer.name for layer in result.layers if not layer.integer] == ["third"]
    assert PostTraining(slow, samples, keep_slow=True).run(network).integer_share == 1


def test_no_data_is_an_error(network, backend):
    with pytest.raises(QuantizationError, match="no calibration data"):
        PostTraining(backend, []).run(network)


def test_nan_is_named_with_its_node_and_sample(network, samples, backend):
    network.constants["b2"] = network.constants["b2"] + np.float32(np.nan)
    with pytest.raises(QuantizationError, match="'second' gives NaN or infinity for sample 0"):
        PostTraining(backend, samples).run(network)


def test_nan_in_the_data_is_named(network, samples, backend):
    samples[2]["image"][0, 0, 0, 0] = np.inf
    with pytest.raises(QuantizationError, match="input 'image' gives NaN or infinity for sample 2"):
        PostTraining(backend, samples).run(network)


def test_an_unknown_layer_to_keep_lists_all(network, samples, backend):
    with pytest.raises(QuantizationError, match=r"no layer fourth .* first, second, third, classifier"):
        PostTraining(backend, samples, keep_float=["fourth"]).run(network)


def test_a_model_without_layers_says_why_for_each(samples, backend):
    graph = Graph("runtime weights", ["image", "w"], ["y"])
    graph.types = {
        "image": TensorType(DType.FLOAT32, (1, 3, 24, 24)), "w": TensorType(DType.FLOAT32, (2, 3, 1, 1)),
    }  # fmt: skip
    graph.nodes = [Node("Conv", ["image", "w"], ["y"], {}, "conv", FUSED)]
    feeds = [{**sample, "w": np.ones((2, 3, 1, 1), np.float32)} for sample in samples]
    with pytest.raises(QuantizationError, match="conv: the weights are computed at run time"):
        PostTraining(backend, feeds).run(graph)


@pytest.mark.parametrize("change", ["dead", "constant", "huge", "tiny"])
def test_degenerate_channels_give_a_defined_result(network, samples, backend, change):
    weight, bias = network.constants["w1"].copy(), network.constants["b1"].copy()
    if change == "dead":
        weight[0], bias[0] = 0, 0
    elif change == "constant":
        weight[0], bias[0] = 0, 3
    elif change == "huge":
        weight[0] *= 1e30
        network.constants["w2"] = network.constants["w2"].copy()
        network.constants["w2"][:, 0] *= np.float32(1e-30)
    else:
        weight[0] *= 1e-30
    network.constants |= {"w1": weight, "b1": bias}
    result = PostTraining(backend, samples).run(network)
    assert all(np.isfinite(outputs["scores"]).all() for outputs in result.outputs)
    if change != "huge":
        assert worst_psnr(result.expected, result.outputs) > 25


def test_normalisation_reads_floats_and_writes_bytes(samples, backend):
    graph = Graph("style", ["image"], ["y"])
    graph.types["image"] = TensorType(DType.FLOAT32, (1, 3, 24, 24))
    random = np.random.default_rng(0)
    for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (8, 8, 3, 3)), ("w3", (3, 8, 3, 3))):
        graph.add_constant(name, random.standard_normal(shape).astype(np.float32) / 4)
    graph.add_constant("gamma", np.ones(8, np.float32))
    graph.add_constant("beta", np.zeros(8, np.float32))
    conv, norm = {"pads": [1] * 4, "pad_mode": "reflect"}, {"activation": "Relu"}
    graph.nodes = [
        Node("Conv", ["image", "w1"], ["a"], conv, "c1", FUSED),
        Node("InstanceNormalization", ["a", "gamma", "beta"], ["b"], norm, "n1", FUSED),
        Node("Conv", ["b", "w2"], ["c"], conv, "c2", FUSED),
        Node("InstanceNormalization", ["c", "gamma", "beta", "b"], ["d"], {}, "n2", FUSED),
        Node("Conv", ["d", "w3"], ["y"], conv, "c3", FUSED),
    ]
    graph.types = infer_types(graph)[0]
    result = PostTraining(backend, samples).run(graph)
    assert count_operators(result.graph) == {
        "QuantizeLinear": 1, "edgeinfer.QConv": 3, "edgeinfer.QInstanceNormalization": 2,
    }  # fmt: skip
    normalised = [node for node in result.graph.nodes if node.op == "QInstanceNormalization"]
    assert all(node.input(1) == "" for node in normalised)
    assert normalised[1].input(8)
    assert worst_psnr(result.expected, result.outputs) > 30


def test_spelling_out_keeps_what_is_computed(network, samples):
    plain = spelled_out(network)
    assert {node.op for node in plain.nodes} >= {"Add", "Relu"}
    for feeds in samples[:2]:
        np.testing.assert_allclose(
            run_graph(plain, feeds)["scores"], run_graph(network, feeds)["scores"], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "Clip"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_equalisation_keeps_what_is_computed_and_evens_out_channels(samples, backend, activation, strength):
    graph = Graph("pair", ["image"], ["y"])
    graph.types["image"] = TensorType(DType.FLOAT32, (1, 3, 24, 24))
    random = np.random.default_rng(0)
    first = random.standard_normal((8, 3, 3, 3)).astype(np.float32) * np.geomspace(0.02, 1, 8)[:, None, None, None]
    graph.add_constant("w1", first.astype(np.float32))
    graph.add_constant("w2", random.standard_normal((16, 8, 1, 1)).astype(np.float32))
    parameters = {"Clip": [0.0, 6.0], "LeakyRelu": [0.1]}.get(activation, [])
    attributes = {"activation": activation, "activation_parameters": parameters}
    graph.nodes = [
        Node("Conv", ["image", "w1"], ["a"], attributes, "c1", FUSED),
        Node("Conv", ["a", "w2"], ["y"], {}, "c2", FUSED),
    ]
    graph.types = infer_types(graph)[0]
    seen = observe(backend, graph, samples, histograms=False)
    shapes = {name: array.shape for name, array in run_graph(altered(graph, outputs=["a", "y"]), samples[0]).items()}
    equal, count = equalize(graph, find_layers(graph, shapes)[0], seen, strength)
    assert count == 1
    for feeds in samples[:2]:
        np.testing.assert_allclose(run_graph(equal, feeds)["y"], run_graph(graph, feeds)["y"], rtol=1e-4, atol=1e-4)
    after = observe(backend, equal, samples, histograms=False)["a"]
    assert np.ptp(np.log(after.channel_high)) < 0.8 * np.ptp(np.log(seen["a"].channel_high))


def test_sums_join_only_where_integers_reach_them_and_are_read(network, samples):
    plain = spelled_out(network)
    chosen = chosen_nodes(plain, {"first", "second", "third"})
    assert {"second.residual", "second.residual.activation", "pool"} <= chosen
    assert "average" not in chosen
    assert chosen_nodes(plain, {"first"}) == {"first"}


def test_worst_layers_are_kept_and_needless_ones_given_back():
    damages = {"a": 8.0, "b": 5.0, "c": 4.0, "d": 1.0}
    sizes = dict.fromkeys(damages, 1)

    def holds(kept: set[str]) -> bool:
        return sum(damages[name] for name in damages.keys() - kept) <= 6

    assert keep_worst(damages, sizes, holds) in ({"a", "b"}, {"a", "c"})
    assert keep_worst(damages, sizes, lambda kept: False) is None


def test_metrics():
    a, b = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert signal_to_noise(a, b) == pytest.approx(20)
    assert peak_signal_to_noise(a, b) == pytest.approx(10 * np.log10(1 / 0.125))
    assert signal_to_noise(a, a) == np.inf
    assert signal_to_noise(a, np.array([np.nan, 0.0])) == -np.inf
    assert cosine(a, 2 * a) == pytest.approx(1)
    assert cosine(a, np.zeros(2)) == 0
    assert cosine(np.zeros(2), np.zeros(2)) == 1
    scores = [{"y": np.array([[1.0, 2.0], [4.0, 3.0]])}]
    assert agreement(scores, [{"y": np.array([[0.0, 5.0], [0.0, 1.0]])}]) == 0.5


def test_expected_agreement_is_what_other_samples_will_show():
    random = np.random.default_rng(0)
    scores = random.standard_normal((600, 10))
    found = scores + 0.1 * random.standard_normal(scores.shape)
    expected = [{"y": row[None]} for row in scores]
    outputs = [{"y": row[None]} for row in found]
    pairs = list(zip(expected, outputs, strict=True))
    plain = agreement(expected, outputs)
    assert expected_agreement(expected, pairs[:40]) == pytest.approx(plain, abs=0.02)
    assert expected_agreement(expected, [(x, x) for x in expected[:40]]) == 1


def test_goal_on_data_not_seen_keeps_sums_and_layers_float(network, many_samples, backend):
    samples, seen = many_samples, []

    def estimate(expected, pairs):
        seen.append((len(expected), len(pairs)))
        return min(signal_to_noise(a["scores"], b["scores"]) for a, b in pairs)

    least = estimate_of_all_integers(network, samples, backend) + 4
    goal = Goal("SNR", lambda expected, found: 0.0, least, estimate)
    result = PostTraining(backend, samples, goal=goal).run(network)
    assert set(seen) == {(24, 12)}
    assert result.goal_value is not None
    assert result.goal_value >= least
    assert 0 < result.integer_share < 1
    assert "second.residual" in [layer.name for layer in result.layers if layer.damage is not None]


def estimate_of_all_integers(network, samples, backend):
    loose = PostTraining(backend, samples).run(network)
    pairs = zip(loose.expected, loose.outputs, strict=True)
    return min(signal_to_noise(a["scores"], b["scores"]) for a, b in pairs)


def test_sums_kept_float_add_what_is_not_rounded(network, samples, backend):
    training = PostTraining(backend, samples)
    plain = spelled_out(network)
    kept = PostTraining(backend, samples, keep_float=["second.residual"]).run(network)
    whole = training.run(network)
    assert count_operators(whole.graph)["edgeinfer.QAdd"] == 1
    assert "edgeinfer.QAdd" not in count_operators(kept.graph)
    (total,) = [node for node in plain.nodes if node.name == "second.residual"]
    by_name = {node.name: node for node in kept.graph.nodes}
    assert by_name["first"].op == by_name["second"].op == "QConv"
    readers = [node for node in kept.graph.nodes if total.inputs[1] in node.inputs]
    assert readers


def test_ranges_are_chosen_by_what_they_do_to_outputs(backend):
    # One rare element decides about the outputs: cutting it off must not pay.
    random = np.random.default_rng(0)
    graph = Graph("rare", ["image"], ["y"], [], {"image": TensorType(DType.FLOAT32, (1, 3, 160, 160))})
    graph.add_constant("w", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1))
    graph.nodes = [
        Node("Conv", ["image", "w"], ["a"], {}, "conv", FUSED), Node("GlobalMaxPool", ["a"], ["y"], {}, "max"),
    ]  # fmt: skip
    graph.types = infer_types(graph)[0]
    data = [{"image": random.random((1, 3, 160, 160), np.float32)} for _ in range(4)]
    for feeds in data:
        feeds["image"][0, :, 3, 3] = 1.6
    watched = {"a": observe(backend, graph, data, histograms=True)["a"]}
    expected = [run_graph(graph, feeds) for feeds in data]
    found = widenings_by_effect(backend, graph, watched, "percentile", data, expected)
    assert found == {"a": 1.0}


@pytest.mark.parametrize("outlier", [1e30, -1e30, 3e38])
def test_outliers_in_the_data_give_a_defined_result(network, samples, backend, outlier):
    samples[2]["image"][0, 0, 5, 5] = outlier
    if abs(outlier) > 1e38:
        with pytest.raises(QuantizationError, match="gives NaN or infinity for sample 2"):
            PostTraining(backend, samples).run(network)
        return
    result = PostTraining(backend, samples).run(network)
    assert all(np.isfinite(outputs["scores"]).all() for outputs in result.outputs)
