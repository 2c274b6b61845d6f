"""What the command line says about bad input: one message that names the place and the way out, and a status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path, shipped):
    """Good and bad files by name."""
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "text.edge").write_text("hello")
    (tmp_path / "cut.edge").write_bytes(shipped.read_bytes()[:1000])
    (tmp_path / "file").write_text("")
    (tmp_path / "broken.png").write_text("hello")
    (tmp_path / "taken" / "stylized.npy").mkdir(parents=True)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "photo.png")
    arrays = {
        "image": np.zeros((1, 3, 32, 32), np.float32),
        "double": np.zeros((1, 3, 32, 32)),
        "rank": np.zeros((3, 32, 32), np.float32),
        "channels": np.zeros((1, 4, 32, 32), np.float32),
        "style": np.eye(26, dtype=np.float32)[3],
        "short": np.zeros(5, np.float32),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("convert text.onnx -o a.edge", "text.onnx is not an ONNX file"),
        ("convert missing.onnx -o a.edge", "missing.onnx: there is no such file"),
        ("inspect text.edge", "text.edge: the file has 5 bytes"),
        ("inspect cut.edge", "cut.edge: the header should end at byte"),
        ("inspect missing.edge", "missing.edge: No such file"),
        ("run MODEL --input nope=image.npy --output out", "there is no input 'nope'; the inputs are ['image'"),
        ("run MODEL --input image=image.npy --output out", "missing ['style_weights']"),
        ("run MODEL --input image=double.npy --input style_weights=style.npy --output out", "must be float32, got"),
        ("run MODEL --input image=rank.npy --input style_weights=style.npy --output out", "must have rank 4"),
        ("run MODEL --input image=channels.npy --input style_weights=style.npy --output out", "size 3 on axis 1"),
        ("run MODEL --input image=text.edge --input style_weights=style.npy --output out", "neither .npy nor a pict"),
        ("run MODEL --input image=image.npy --input style_weights=style.npy --output file/x", "output folder"),
        ("run MODEL --input image=image.npy --input style_weights=short.npy --output out", "size 26 on axis 0"),
        ("run MODEL --input image=image.npy --input style_weights=photo.png --output out", "is no colour picture"),
        ("run MODEL --input image=broken.png --input style_weights=style.npy --output out", "read as a picture"),
        ("run MODEL --input image=none.npy --input style_weights=style.npy --output out", "none.npy cannot be read"),
        (
            "run MODEL --input image=image.npy --input style_weights=style.npy --output taken",
            "write taken/stylized.npy",
        ),
        ("run MODEL --input image=image.npy --input image=image.npy --output out", "input 'image' is given twice"),
        ("convert text.onnx -o text.onnx", "a name that ends in .edge"),
        ("inspect MODEL --shape image=1x3x9999999999999x8", "is too large"),
        ("inspect MODEL --shape image=1x3x8x8 --shape image=1x3x8x8", "the shape of input 'image' is given twice"),
        ("bench MODEL --shape image=1x3x36", "must have rank 4"),
        ("bench MODEL --shape img=1x3x36x36", "there is no input ['img']"),
        ("bench MODEL --shape image=foo", "is not a shape: write NAME=1x3x360x640"),
        ("bench MODEL --threads 99999", "a number from 1 to 256"),
    ],
)
def test_message_and_status(command, files, shipped, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    monkeypatch.setenv("EDGEINFER_LOG", "quiet")
    status, _, err = command(*arguments.replace("MODEL", str(shipped)).split())
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_conversion_into_a_missing_folder_names_it(command, tiny_onnx, tmp_path):
    status, _, err = command("convert", tiny_onnx, "-o", tmp_path / "none" / "a.edge")
    assert status == 2
    assert f"cannot write {tmp_path / 'none' / 'a.edge'}" in err


def test_failed_conversion_keeps_the_old_file(command, tmp_path):
    (tmp_path / "bad.onnx").write_text("hello")
    (tmp_path / "a.edge").write_text("old")
    assert command("convert", tmp_path / "bad.onnx", "-o", tmp_path / "a.edge")[0] == 2
    assert (tmp_path / "a.edge").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.edge", "bad.onnx"]


def test_unsupported_operators_are_all_listed_with_their_nodes(command, tmp_path):
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "fine"),
        helper.make_node("Transmogrify", ["b"], ["y"], "second", domain="org.example"),
    ]
    value = [helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("org.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "m.onnx")
    status, _, err = command("convert", tmp_path / "m.onnx", "-o", tmp_path / "m.edge")
    assert status == 2
    for text in ("Frobnicate", "first", "Transmogrify", "second"):
        assert text in err
    assert "fine" not in err


def run_without(package: str, cache: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process where a package cannot be found."""
    program = (
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.split('.')[0] == {package!r}: raise ModuleNotFoundError(name, name={package!r})\n"
        "sys.meta_path.insert(0, Hide())\n"
        "import importlib.util; find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *a: None if name == {package!r} else find(name, *a)\n"
        "from edgeinfer.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EDGEINFER_CACHE": str(cache)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("package", ["numba", "llvmlite"])
def test_what_compiles_says_what_to_install(package, shipped, tmp_path):
    export = ["export", shipped, "--target", "aarch64", "--shape", "image=1x3x32x32", "-o", tmp_path / "bundle"]
    for arguments, purpose in ((export, "exporting"), (["pack", "--target", "aarch64", "-o", tmp_path], "building")):
        done = run_without(package, tmp_path, *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(f"edgeinfer {arguments[0]}: {purpose}")
        assert "pip install 'edgeinfer[jit]'" in done.stderr


def test_no_kernels_and_no_compiler_says_what_to_install(shipped, tmp_path):
    done = run_without("numba", tmp_path, "bench", shipped, "--runs", 1)
    assert done.returncode == 2
    assert "pip install 'edgeinfer[jit]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_converting_without_onnx_says_what_to_install(tiny_onnx, tmp_path):
    done = run_without("onnx", tmp_path, "convert", tiny_onnx, "-o", tmp_path / "a.edge")
    assert done.returncode == 2
    assert "pip install 'edgeinfer[convert]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_command_line_is_told_by_the_parser(capsys):
    from edgeinfer.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["bench"])
    assert stop.value.code == 2
    assert "required: model" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--threads 0", "--threads x", "--runs 0", "--runs -3"])
def test_counts_must_be_positive(capsys, shipped, option):
    from edgeinfer.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["bench", str(shipped), *option.split()])
    assert stop.value.code == 2
    assert "positive number" in capsys.readouterr().err
