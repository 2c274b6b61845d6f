"""Whole models against ONNX Runtime, converted, saved and loaded again; real photographs and random inputs."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
import skimage.data
import skimage.transform

import converters
from benchmarks.models import build, generated, real_model
from converters.onnx import import_model
from edgeinfer.format import read_edge, write_edge
from edgeinfer.ops import run_graph
from edgeinfer.plan.verify_arena import verify_arena
from edgeinfer.runtime.cpu import available_levels
from edgeinfer.runtime.kernel_loader import kernels_for
from edgeinfer.runtime.session import Session

TOLERANCE = 1e-4


@functools.cache
def photo(name: str, height: int, width: int) -> np.ndarray:
    """A photograph as float32 [1, 3, height, width] in 0..1; a gray one fills all three channels."""
    picture = getattr(skimage.data, name)()
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    resized = skimage.transform.resize(picture, (height, width), anti_aliasing=True)
    return np.ascontiguousarray(resized.astype(np.float32).transpose(2, 0, 1)[None])


def random_picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).random((1, 3, height, width), np.float32)


@functools.cache
def model_bytes(name: str) -> bytes:
    if name in ("multistyle26", "ppocr_v4_det"):
        return real_model(name).read_bytes()
    return build(name).SerializeToString()


@functools.cache
def oracle(name: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model_bytes(name), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def edge_files(tmp_path_factory):
    """A function that converts a model, saves it, and gives the path."""
    folder = tmp_path_factory.mktemp("models")

    @functools.cache
    def edge_file(name: str):
        graph, _ = converters.convert(onnx.load_model_from_string(model_bytes(name)))
        path = folder / f"{name}.edge"
        write_edge(graph, path)
        return path

    return edge_file


def assert_close(results: dict[str, np.ndarray], expected: list[np.ndarray]) -> None:
    for result, wanted in zip(results.values(), expected, strict=True):
        assert result.shape == wanted.shape
        assert result.dtype == wanted.dtype
        limit = TOLERANCE * max(float(np.ptp(wanted)), 1e-6)
        assert float(np.abs(result - wanted).max()) <= limit


def style(*weights: tuple[int, float]) -> np.ndarray:
    vector = np.zeros(26, np.float32)
    for index, weight in weights:
        vector[index] = weight
    return vector


FEEDS = {
    "multistyle26": [
        {"image": photo("astronaut", 256, 256), "style_weights": style((7, 1))},
        {"image": photo("coffee", 204, 316), "style_weights": style((3, 0.6), (19, 0.4))},
        {"image": random_picture(64, 100), "style_weights": style((0, 0.5), (25, 0.5))},
    ],
    "ppocr_v4_det": [{"x": 2 * photo("page", 192, 384) - 1}, {"x": photo("page", 96, 160)}],
    "fast_neural_style_32": [{"image": photo("astronaut", 128, 128)}, {"image": random_picture(203, 117)}],
    "fast_neural_style_16": [{"image": photo("chelsea", 128, 128)}, {"image": random_picture(203, 317)}],
    "mobilenet_v2": [{"image": photo("coffee", 224, 224)}, {"image": random_picture(203, 117)}],
    "resnet18": [{"image": photo("coffee", 224, 224)}, {"image": random_picture(203, 117)}],
    "efficientnet_lite0": [{"image": photo("coffee", 224, 224)}, {"image": random_picture(160, 96)}],
}


def feeds_of(name: str) -> list[dict[str, np.ndarray]]:
    return FEEDS[name.removesuffix(".script")]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [*generated(), "multistyle26", "ppocr_v4_det"])
def test_model_equals_onnx_runtime(name, threads, edge_files):
    with Session(read_edge(edge_files(name)), threads=threads) as session:
        for feeds in feeds_of(name):
            assert_close(session.run(feeds), oracle(name).run(None, feeds))


def test_text_detection_on_noise_equals_the_references_in_float64(edge_files):
    """There is no text in noise: all outputs lie below 1e-3, where ONNX Runtime's sigmoid is 1e-7 off."""
    reference = import_model(real_model("ppocr_v4_det"))
    for name, array in reference.constants.items():
        if array.dtype == np.float32:
            reference.constants[name] = array.astype(np.float64)
    noise = 2 * random_picture(160, 192) - 1
    expected = run_graph(reference, {"x": noise.astype(np.float64)})
    with Session(read_edge(edge_files("ppocr_v4_det")), threads=2) as session:
        assert_close(session.run({"x": noise}), [array.astype(np.float32) for array in expected.values()])


@pytest.mark.parametrize("level", available_levels()[1:])
@pytest.mark.parametrize("name", ["multistyle26", "fast_neural_style_16", "mobilenet_v2", "ppocr_v4_det"])
def test_model_equals_onnx_runtime_at_lower_levels(name, level, edge_files):
    with Session(read_edge(edge_files(name)), threads=2, kernels=kernels_for(level)) as session:
        feeds = feeds_of(name)[-1]
        assert_close(session.run(feeds), oracle(name).run(None, feeds))


@pytest.mark.parametrize("name", [*generated(), "multistyle26", "ppocr_v4_det"])
def test_model_runs_without_host_steps_in_a_sound_arena(name, edge_files):
    with Session(read_edge(edge_files(name)), threads=2) as session:
        feeds = feeds_of(name)[0]
        plan = session.plan({key: array.shape for key, array in feeds.items()})
        assert [(step.node.op, step.reason) for step in plan.host_steps()] == []
        verify_arena(plan)
        assert plan.activation_bytes <= 1.1 * plan.lower_bound


def test_multistyle26_is_fused_completely(edge_files):
    graph = read_edge(edge_files("multistyle26"))
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    convs = [node for node in graph.nodes if node.op == "Conv"]
    norms = [node for node in graph.nodes if node.op == "InstanceNormalization"]
    assert (len(convs), len(norms)) == (18, 18)
    assert counts.keys() == {"Conv", "InstanceNormalization", "MatMul", "Reshape", "Split"}
    assert counts["MatMul"] == counts["Split"] == 1
    assert all(node.attributes["pad_mode"] == "reflect" for node in convs)
    assert sum(node.attributes.get("upsample", [1, 1]) == [2, 2] for node in convs) == 2
    assert sum(node.attributes.get("activation") == "Relu" for node in norms) == 11
    assert sum(len(node.inputs) == 4 for node in norms) == 6 - sum(len(node.inputs) == 4 for node in convs)


LIGHT = [
    *("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2"),
    *("resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512"),
]
LIGHT_FOLDER = onnx.__path__[0] + "/backend/test/data/light/"


@pytest.mark.parametrize("name", LIGHT)
def test_light_network_gives_its_expected_output(name, tmp_path):
    path = f"{LIGHT_FOLDER}light_{name}.onnx"
    graph, _ = converters.convert(path)
    write_edge(graph, tmp_path / "light.edge")
    expected = onnx.numpy_helper.to_array(onnx.load_tensor(f"{LIGHT_FOLDER}light_{name}_output_0.pb"))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with Session(read_edge(tmp_path / "light.edge"), threads=2) as ours:
        feeds = {port.name: np.ones(port.shape, np.float32) for port in ours.inputs}
        ours_out = next(iter(ours.run(feeds).values()))
        theirs = session.run(None, feeds)[0]
    limit = TOLERANCE * max(float(np.ptp(theirs)), float(np.abs(theirs).max()))
    assert float(np.abs(ours_out - theirs).max()) <= limit
    assert ours_out.shape == expected.shape
