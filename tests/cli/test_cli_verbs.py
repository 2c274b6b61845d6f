"""The verbs of the command line on good input: what they write and print."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import edgeinfer


def test_convert_reports_fusions_and_compares_with_the_original(command, tiny_onnx, tmp_path):
    status, out, _ = command("convert", tiny_onnx, "-o", tmp_path / "tiny.edge")
    assert status == 0
    assert "FusePadConv" in out
    assert "BatchNormalization" in out
    assert "largest difference" in out
    operators = {node.op for node in edgeinfer.load(tmp_path / "tiny.edge")._graph.nodes}
    assert operators <= {"Conv", "Transpose"}


def test_convert_explains_what_was_not_fused(command, tiny_onnx, tmp_path):
    import onnx

    model = onnx.load(tiny_onnx)
    model.graph.output.append(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, [1, 4, "h", "w"]))
    onnx.save(model, tiny_onnx)
    status, out, _ = command("convert", tiny_onnx, "-o", tmp_path / "tiny.edge", "--explain")
    assert status == 0
    assert "what was not fused" in out
    table = out[out.index("what was not fused") :]
    assert "nothing was refused" not in table
    assert "norm" in table


def test_weights_in_fewer_bits_make_the_file_smaller(command, shipped, tmp_path):
    import onnx

    weight = np.random.default_rng(0).standard_normal((64, 64, 3, 3), np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)],
        "large",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 64, 16, 16])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 64, 16, 16])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "large.onnx")
    assert command("convert", tmp_path / "large.onnx", "-o", tmp_path / "32.edge")[0] == 0
    assert command("convert", tmp_path / "large.onnx", "-o", tmp_path / "16.edge", "--float16")[0] == 0
    status, out, _ = command("convert", tmp_path / "large.onnx", "-o", tmp_path / "4.edge", "--weights", "int4")
    assert (status, "largest difference" in out) == (0, True)
    sizes = [(tmp_path / name).stat().st_size for name in ("32.edge", "16.edge", "4.edge")]
    assert 0.5 <= sizes[1] / sizes[0] < 0.53
    assert 0.14 <= sizes[2] / sizes[0] < 0.17


def test_bench_draws_timeline_steps_and_memory(command, tiny_onnx, tmp_path):
    page = tmp_path / "steps.html"
    status, out, _ = command("bench", tiny_onnx, "--runs", "2", "--html", page, "--threads", "1")
    assert status == 0
    assert "steps" in out
    text = page.read_text()
    assert text.count("<svg") == 2
    _, out, _ = command("bench", tiny_onnx, "--runs", "2", "--profile", "--json", "--threads", "1")
    figures = json.loads(out)
    for step in figures["steps"]:
        assert f"{step['node']}, {step['op']}, " in text
        assert step["bytes"] > 0
    assert figures["peak_gmac_per_s"] > 0.1
    for box in figures["arena"]:
        assert 0 <= box["offset"] <= box["offset"] + box["bytes"] <= figures["activation_bytes"]
        assert 0 <= box["first"] <= box["last"] < len(figures["steps"])
        assert f"<title>{box['tensor']}: " in text
    status, _, err = command("bench", tiny_onnx, "--runs", "1", "--html", tmp_path / "none" / "x.html")
    assert (status, "cannot write" in err) == (2, True)


def test_inspect_tells_inputs_macs_and_arena(command, shipped):
    status, out, _ = command("inspect", shipped, "--shape", "image=1x3x256x256")
    assert status == 0
    for text in ("style_weights", "1x3xhxw", "166,104 parameters", "1,271.7 million MACs", "arena"):
        assert text in out


def test_inspect_json_is_complete(command, shipped):
    status, out, _ = command("inspect", shipped, "--json")
    assert status == 0
    document = json.loads(out)
    assert {"name", "inputs", "outputs", "operators", "parameters", "file_bytes", "plan"} <= document.keys()
    assert document["file_bytes"] == shipped.stat().st_size
    assert document["operators"]["edgeinfer.Conv"] == 18
    plan = document["plan"]
    assert plan["host_steps"] == []
    assert plan["shapes"] == {"image": [1, 3, 256, 256], "style_weights": [26]}
    assert plan["arena_bytes"] >= plan["activation_bytes"] >= plan["lower_bound_bytes"] > 0


def test_bench_json_has_all_figures(command, shipped):
    shape = "image=1x3x64x64"
    status, out, _ = command("bench", shipped, "--shape", shape, "--threads", 1, "--runs", 3, "--profile", "--json")
    assert status == 0
    figures = json.loads(out)
    assert figures["threads"] == 1
    assert figures["macs"] == pytest.approx(1271.7e6 / 16, rel=0.01)
    for name in ("load_ms", "plan_ms", "first_ms", "median_ms", "p95_ms", "min_ms", "gmac_per_s", "peak_memory_bytes"):
        assert figures[name] > 0
    assert figures["min_ms"] <= figures["median_ms"] <= figures["p95_ms"]
    assert len(figures["steps"]) > 18
    assert {"node", "op", "kernel", "ms", "gmac_per_s", "bytes", "reason"} == figures["steps"][0].keys()


def test_bench_prints_a_table_of_steps(command, tiny_onnx):
    status, out, _ = command("bench", tiny_onnx, "--shape", "x=1x3x16x16", "--runs", 2, "--profile")
    assert status == 0
    for text in ("median", "p95", "GMAC/s", "f32_conv"):
        assert text in out


def test_run_equals_onnx_runtime_and_writes_pictures(command, tiny_onnx, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "in.png")
    out_folder = tmp_path / "results"
    status, out, _ = command("run", tiny_onnx, "--input", f"x={tmp_path / 'in.png'}", "--output", out_folder)
    assert status == 0
    assert "1x4x20x24" in out
    feed = (picture.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    expected = onnxruntime.InferenceSession(tiny_onnx, providers=["CPUExecutionProvider"]).run(None, {"x": feed})[0]
    np.testing.assert_allclose(np.load(out_folder / "y.npy"), expected, rtol=1e-4, atol=1e-4)


def test_run_writes_a_picture_where_an_output_is_one(command, shipped, tmp_path):
    Image.fromarray(np.full((32, 36, 3), 128, np.uint8)).save(tmp_path / "in.png")
    np.save(tmp_path / "style.npy", np.eye(26, dtype=np.float32)[3])
    inputs = ["--input", f"image={tmp_path / 'in.png'}", "--input", f"style_weights={tmp_path / 'style.npy'}"]
    assert command("run", shipped, *inputs, "--output", tmp_path)[0] == 0
    written = np.asarray(Image.open(tmp_path / "stylized.png"))
    assert written.shape == (32, 36, 3)
    exact = np.load(tmp_path / "stylized.npy")[0].transpose(1, 2, 0)
    assert np.abs(written / 255 - np.clip(exact, 0, 1)).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("verb", ["convert", "inspect", "run", "bench", "stylize"])
def test_help_of_each_verb_shows_examples(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        edgeinfer_main(verb)
    assert stop.value.code == 0
    assert f"edgeinfer {verb} " in capsys.readouterr().out.split("examples:")[1]


def edgeinfer_main(verb: str) -> None:
    from edgeinfer.cli import main

    main([verb, "--help"])
