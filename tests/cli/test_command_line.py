"""Each verb as a user calls it: outputs, JSON, exit statuses and messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from benchmarks.models import build
from edgeinfer.cli import main

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "multistyle26" / "multistyle26.edge"
SMALL = "image=1x3x32x48"


@pytest.fixture
def files(tmp_path):
    """A folder with inputs for the shipped model, right and wrong ones."""
    generator = np.random.default_rng(0)
    image = generator.random((1, 3, 32, 48), np.float32)
    style = np.eye(26, dtype=np.float32)[3]
    arrays = {
        "image": image,
        "style": style,
        "float64": image.astype(np.float64),
        "rank3": image[0],
        "channels4": generator.random((1, 4, 32, 48), np.float32),
        "style5": style[:5],
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    Image.fromarray((image[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "cut.edge").write_bytes(MODEL.read_bytes()[:5000])
    (tmp_path / "text.onnx").write_text("# no model")
    return tmp_path


@pytest.fixture
def two_layer_onnx(tmp_path):
    """A model of a Conv and a Relu, which become one operator."""
    weight = np.random.default_rng(1).random((8, 3, 3, 3), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], name="conv"), helper.make_node("Relu", ["c"], ["y"], name="relu")],
        "two_layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def run_main(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def run_model(capsys, files, image="image.npy", style="style.npy", output="out"):
    inputs = ("--input", f"image={files / image}", "--input", f"style_weights={files / style}")
    return run_main(capsys, "run", MODEL, *inputs, "--output", files / output)


def test_convert_reports_fusions_and_compares(capsys, two_layer_onnx, tmp_path):
    target = tmp_path / "two.edge"
    status, out, err = run_main(capsys, "convert", two_layer_onnx, "-o", target, "--explain")
    assert status == 0, err
    assert "edgeinfer.Conv" in out
    assert "what was not fused" in out
    assert "compared with ONNX Runtime on random inputs" in out
    assert target.is_file()


def test_convert_float16_makes_a_smaller_file(capsys, tmp_path):
    onnx.save(build("fast_neural_style_16"), tmp_path / "style.onnx")
    sizes = []
    for options in ([], ["--float16"]):
        target = tmp_path / f"model{len(options)}.edge"
        status, _, err = run_main(capsys, "convert", tmp_path / "style.onnx", "-o", target, "--no-check", *options)
        assert status == 0, err
        sizes.append(target.stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]


def test_inspect_json_has_the_documented_fields(capsys):
    status, out, _ = run_main(capsys, "inspect", MODEL, "--shape", SMALL, "--json")
    assert status == 0
    described = json.loads(out)
    assert described["inputs"][0] == {"name": "image", "dtype": "float32", "shape": [1, 3, "h", "w"]}
    assert [port["name"] for port in described["outputs"]] == ["stylized"]
    assert described["operators"]["edgeinfer.InstanceNormalization"] == 18
    assert described["file_bytes"] == MODEL.stat().st_size
    assert described["parameters"] > 100_000
    plan = described["plan"]
    assert plan["shapes"] == {"image": [1, 3, 32, 48], "style_weights": [26]}
    assert plan["macs"] > 0
    assert plan["arena_bytes"] >= plan["activation_bytes"] >= plan["lower_bound_bytes"] > 0
    assert plan["host_steps"] == []


def test_inspect_text_names_what_matters(capsys):
    status, out, _ = run_main(capsys, "inspect", MODEL, "--shape", SMALL)
    assert status == 0
    for text in ("parameters", "inputs", "outputs", "operators", "million MACs", "arena", "kB"):
        assert text in out


def test_bench_json_has_the_documented_fields(capsys):
    arguments = ("bench", MODEL, "--shape", SMALL, "--threads", "1", "--runs", "3", "--profile", "--json")
    status, out, _ = run_main(capsys, *arguments)
    assert status == 0
    result = json.loads(out)
    assert result["threads"] == 1
    assert 0 < result["min_ms"] <= result["median_ms"] <= result["p95_ms"]
    for name in ("load_ms", "plan_ms", "first_ms", "gmac_per_s", "peak_memory_bytes", "arena_bytes"):
        assert result[name] > 0
    assert set(result["steps"][0]) == {"node", "op", "kernel", "ms", "gmac_per_s", "reason"}


def test_bench_text_shows_a_table_of_steps(capsys):
    status, out, _ = run_main(capsys, "bench", MODEL, "--shape", SMALL, "--runs", "1", "--profile")
    assert status == 0
    for text in ("load", "plan", "first", "median", "p95", "min", "GMAC/s", "peak memory", "f32_conv"):
        assert text in out


def test_run_writes_arrays_and_pictures(capsys, files):
    assert run_model(capsys, files)[0] == 0
    result = np.load(files / "out" / "stylized.npy")
    assert result.shape == (1, 3, 32, 48)
    with Image.open(files / "out" / "stylized.png") as picture:
        assert picture.size == (48, 32)
        assert np.abs(np.asarray(picture) / 255 - result[0].transpose(1, 2, 0)).max() < 0.01


def test_run_takes_pictures(capsys, files):
    assert run_model(capsys, files, image="photo.png")[0] == 0


@pytest.mark.parametrize(
    ("image", "style", "parts"),
    [
        ("float64.npy", "style.npy", ["'image'", "float32", "float64"]),
        ("rank3.npy", "style.npy", ["'image'", "rank 4", "rank 3"]),
        ("channels4.npy", "style.npy", ["'image'", "size 3 on axis 1"]),
        ("image.npy", "style5.npy", ["'style_weights'", "26", "5"]),
        ("image.npy", "photo.png", ["'style_weights'", "no colour picture", ".npy"]),
        ("broken.png", "style.npy", ["broken.png", "cannot be read as a picture"]),
        ("missing.npy", "style.npy", ["missing.npy", "No such file"]),
        ("text.onnx", "style.npy", ["'image'", "neither .npy nor a picture"]),
    ],
)
def test_run_refuses_inputs_that_do_not_fit(capsys, files, image, style, parts):
    status, _, err = run_model(capsys, files, image, style)
    assert status == 2
    assert all(part in err for part in parts), err
    assert not (files / "out").exists()


def test_run_says_where_it_cannot_write(capsys, files):
    status, _, err = run_model(capsys, files, output="photo.png")
    assert status == 2
    assert "cannot make the output folder" in err
    (files / "taken" / "stylized.npy").mkdir(parents=True)
    status, _, err = run_model(capsys, files, output="taken")
    assert status == 2
    assert "cannot write" in err
    assert "stylized.npy" in err


def test_unknown_missing_and_doubled_inputs(capsys, files):
    image = f"image={files / 'image.npy'}"
    for inputs, part in (([image], "missing ['style_weights']"), (["x=y.npy"], "no input 'x'"), ([image] * 2, "twice")):
        options = [option for text in inputs for option in ("--input", text)]
        status, _, err = run_main(capsys, "run", MODEL, *options, "--output", files / "out")
        assert status == 2
        assert part in err


@pytest.mark.parametrize("verb", ["inspect", "bench"])
@pytest.mark.parametrize(
    ("name", "part"), [("missing.edge", "No such file"), ("cut.edge", "cut short"), ("style.npy", "not an .edge file")]
)
def test_model_files_that_cannot_be_read(capsys, files, verb, name, part):
    status, _, err = run_main(capsys, verb, files / name)
    assert status == 2
    assert name in err
    assert part in err


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ("image=1xhx3", "is not a shape"),
        ("image", "is not a shape"),
        ("img=1x3x8x8", "there is no input"),
        ("image=1x3", "rank 4"),
        ("image=1x3x9999999999999x8", "too large"),
    ],
)
def test_shapes_that_do_not_fit(capsys, shape, part):
    status, _, err = run_main(capsys, "inspect", MODEL, "--shape", shape)
    assert status == 2
    assert part in err


def test_convert_lists_all_unsupported_operators(capsys, tmp_path):
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], name="first", domain="custom"),
        helper.make_node("MaxUnpool", ["a", "a"], ["y"], name="second", kernel_shape=[2]),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "g", [value], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("custom", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "m.onnx")
    status, _, err = run_main(capsys, "convert", tmp_path / "m.onnx", "-o", tmp_path / "m.edge")
    assert status == 2
    assert all(text in err for text in ("Frobnicate", "'first'", "MaxUnpool", "'second'"))
    assert not (tmp_path / "m.edge").exists()


def test_convert_errors_keep_the_files(capsys, files, two_layer_onnx):
    original = two_layer_onnx.read_bytes()
    for model, output, part in (
        (files / "missing.onnx", files / "a.edge", "no such file"),
        (files / "text.onnx", files / "a.edge", "not an ONNX file"),
        (two_layer_onnx, two_layer_onnx, "ends in .edge"),
        (two_layer_onnx, files / "none" / "a.edge", "cannot write"),
    ):
        status, _, err = run_main(capsys, "convert", model, "-o", output)
        assert status == 2
        assert part in err
    assert two_layer_onnx.read_bytes() == original
    assert not (files / "a.edge").exists()


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--threads", "x"], ["--runs", "0"], ["--runs", "-3"]])
def test_bad_options_are_refused(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", str(MODEL), *arguments])
    assert stopped.value.code == 2
    assert "positive number" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["onnx", "numba"])
def test_missing_packages_say_what_to_install(package, tmp_path, two_layer_onnx):
    blocked = (
        "import importlib.util, sys\n"
        f"sys.modules[{package!r}] = None\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)\n"
        "from edgeinfer.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    verbs = {"onnx": ["convert", str(two_layer_onnx), "-o", "m.edge"], "numba": ["bench", str(MODEL), "--runs", "1"]}
    environment = {**os.environ, "EDGEINFER_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", blocked, *verbs[package]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert {"onnx": "edgeinfer[convert]", "numba": "edgeinfer[jit]"}[package] in done.stderr
    assert "Traceback" not in done.stderr
