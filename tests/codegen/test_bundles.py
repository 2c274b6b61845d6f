"""Bundles: equal to a session's results, small, without foreign symbols; clear errors for what cannot be exported."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgeinfer
from edgeinfer.bundle_abi import INFO_MARK, BundleStatus
from edgeinfer.cli import main
from edgeinfer.codegen.targets import TARGETS, target_of_level
from edgeinfer.errors import FormatError, InputError, KernelError
from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.runtime.cpu import cpu_level

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "multistyle26" / "multistyle26.edge"
HOST = target_of_level(cpu_level()).name
IMAGE = np.random.default_rng(0).random((1, 3, 256, 256), np.float32)
STYLE = np.eye(26, dtype=np.float32)[19]


@pytest.fixture(scope="module")
def wanted() -> np.ndarray:
    """What a session makes of IMAGE."""
    with edgeinfer.load(MODEL, threads=2) as session:
        return session(IMAGE, STYLE)


@pytest.fixture
def functions(style_bundle) -> ctypes.CDLL:
    """The C functions of the bundle."""
    library = ctypes.CDLL(str(style_bundle / "multistyle26.so"))
    library.multistyle26_memory_size.restype = ctypes.c_size_t
    library.multistyle26_init.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    library.multistyle26_run.argtypes = [ctypes.c_void_p] * 3
    library.multistyle26_work.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.multistyle26_stop.argtypes = [ctypes.c_void_p]
    return library


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_equal_the_sessions_bit_by_bit(style_bundle, wanted, threads):
    with edgeinfer.load(style_bundle / "multistyle26.so", threads=threads) as bundle:
        assert [(port.name, port.shape) for port in bundle.inputs] == [
            ("image", (1, 3, 256, 256)),
            ("style_weights", (26,)),
        ]
        for _ in range(3):
            np.testing.assert_array_equal(bundle(IMAGE, STYLE), wanted)


def test_bundles_run_chains_strip_by_strip(tmp_path):
    random = np.random.default_rng(1)
    graph = Graph("block", ["x"], ["y"], [], {"x": TensorType(DType.FLOAT32, (1, 16, 64, 64))})
    shapes = {"expand": (96, 16, 1, 1), "depthwise": (96, 1, 3, 3), "project": (16, 96, 1, 1)}
    tensors = ["x", "a", "b", "y"]
    for (name, shape), read, made in zip(shapes.items(), tensors[:-1], tensors[1:], strict=True):
        weight = graph.add_constant(name, random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[1])))
        attributes = {"group": 96, "pads": [1] * 4} if name == "depthwise" else {}
        graph.nodes.append(Node("Conv", [read, weight], [made], attributes, name))
    graph.save(tmp_path / "block.edge")
    assert main(["export", str(tmp_path / "block.edge"), "--target", HOST, "-o", str(tmp_path), "--threads", "2"]) == 0
    x = random.standard_normal((1, 16, 64, 64), np.float32)
    with edgeinfer.load(tmp_path / "block.edge", threads=2) as session:
        expected = session(x)
        assert any(step.call.kernel.family == "run_strips" for step in session.plan({"x": x.shape}).native_steps())
    for threads in (1, 2, 3):
        with edgeinfer.load(tmp_path / "block.so", threads=threads) as bundle:
            for _ in range(3):
                np.testing.assert_array_equal(bundle(x), expected)


def test_code_is_small_beside_the_weights(style_bundle):
    content = (style_bundle / "multistyle26.so").read_bytes()
    text = content[content.index(INFO_MARK) + len(INFO_MARK) :].split(b"\0")[0]
    assert 0 < len(content) - json.loads(text)["weight_bytes"] <= 150_000


def test_object_needs_only_the_c_library_and_shows_only_its_own_names(style_bundle):
    if shutil.which("nm") is None:
        pytest.skip("nm of the binutils is not installed")
    done = subprocess.run(["nm", style_bundle / "multistyle26.o"], capture_output=True, text=True, check=True)
    rows = [line.split()[-2:] for line in done.stdout.splitlines()]
    assert {name for kind, name in rows if kind == "U"} <= {"memcpy", "memset", "memmove", "syscall"}
    shown = {name for kind, name in rows if kind.isupper() and kind != "U"}
    assert len(shown) >= 8
    assert all(name.startswith("multistyle26_") for name in shown)


def run_status(library: ctypes.CDLL, block: int, image: np.ndarray, output: np.ndarray) -> int:
    inputs = (ctypes.c_void_p * 2)(image.ctypes.data, STYLE.ctypes.data)
    outputs = (ctypes.c_void_p * 1)(output.ctypes.data)
    return library.multistyle26_run(block, inputs, outputs)


@pytest.mark.parametrize("shift", [0, 1, 63])
def test_block_may_start_anywhere_and_nothing_beyond_it_is_touched(functions, wanted, shift):
    size = functions.multistyle26_memory_size(2)
    block = np.full(size + 256, 0xAB, np.uint8)
    start = 64 + shift
    address = block.ctypes.data + start
    assert functions.multistyle26_init(address, size, 2) == BundleStatus.OK
    worker = threading.Thread(target=functions.multistyle26_work, args=(address, 1))
    worker.start()
    output = np.empty_like(wanted)
    assert run_status(functions, address, IMAGE, output) == BundleStatus.OK
    assert functions.multistyle26_stop(address) == BundleStatus.OK
    worker.join()
    np.testing.assert_array_equal(output, wanted)
    assert (block[:start] == 0xAB).all()
    assert (block[start + size :] == 0xAB).all()


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="this system has no large pages")
def test_initialising_asks_for_large_pages(functions):
    size = functions.multistyle26_memory_size(1)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert functions.multistyle26_init(address, size, 1) == BundleStatus.OK
    asked, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if found:
            start, end = (int(text, 16) for text in found.groups())
            inside = start < address + size and end > address
        elif inside and line.startswith("VmFlags:") and "hg" in line.split():
            asked += min(end, address + size) - max(start, address)
    assert asked >= size - 2 * 65536


def test_mistakes_give_codes(functions, wanted):
    size = functions.multistyle26_memory_size(2)
    block, output = np.zeros(size, np.uint8), np.empty_like(wanted)
    address = block.ctypes.data
    assert (
        functions.multistyle26_memory_size(0)
        == functions.multistyle26_memory_size(257)
        == functions.multistyle26_memory_size(-1)
        == 0
    )
    assert functions.multistyle26_init(None, size, 2) == BundleStatus.NULL
    assert functions.multistyle26_init(address, size - 1, 2) == BundleStatus.MEMORY
    assert functions.multistyle26_init(address, size, 0) == BundleStatus.THREADS
    assert functions.multistyle26_init(address, size, -1) == BundleStatus.THREADS
    assert run_status(functions, address, IMAGE, output) == BundleStatus.STATE
    assert functions.multistyle26_work(address, 1) == BundleStatus.STATE
    assert functions.multistyle26_init(address, size, 1) == BundleStatus.OK
    assert functions.multistyle26_work(address, 0) == BundleStatus.THREADS
    assert functions.multistyle26_work(address, 1) == BundleStatus.THREADS
    assert functions.multistyle26_run(address, None, None) == BundleStatus.NULL
    assert functions.multistyle26_run(address, (ctypes.c_void_p * 2)(), None) == BundleStatus.NULL
    assert run_status(functions, address, IMAGE, output) == BundleStatus.OK
    assert functions.multistyle26_stop(address) == BundleStatus.OK
    assert functions.multistyle26_stop(address) == BundleStatus.STATE


def test_wrong_inputs_are_refused(style_bundle):
    with edgeinfer.load(style_bundle / "multistyle26.so", threads=1) as bundle:
        with pytest.raises(InputError, match=r"'image' of this bundle is float32\[1, 3, 256, 256\], got float64"):
            bundle(IMAGE.astype(np.float64), STYLE)
        with pytest.raises(InputError, match="the inputs are"):
            bundle.run({"image": IMAGE})
    with pytest.raises(InputError, match="closed"):
        bundle(IMAGE, STYLE)


def test_program_may_end_without_closing(style_bundle):
    program = (
        "import sys, numpy as np, edgeinfer\n"
        "bundle = edgeinfer.load(sys.argv[1], threads=2)\n"
        "bundle(np.zeros((1, 3, 256, 256), np.float32), np.zeros(26, np.float32))\n"
    )
    for _ in range(8):
        done = subprocess.run([sys.executable, "-c", program, style_bundle / "multistyle26.so"], check=False)
        assert done.returncode == 0


def test_forked_process_runs_with_workers_of_its_own(style_bundle, wanted):
    with edgeinfer.load(style_bundle / "multistyle26.so", threads=2) as bundle:
        child = os.fork()
        if not child:
            os._exit(0 if np.array_equal(bundle(IMAGE, STYLE), wanted) else 1)
        assert os.waitpid(child, 0)[1] == 0
        np.testing.assert_array_equal(bundle(IMAGE, STYLE), wanted)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:900] + data[901:]])
def test_damaged_bundle_is_refused(style_bundle, tmp_path, damage):
    (tmp_path / "style.so").write_bytes(damage((style_bundle / "multistyle26.so").read_bytes()))
    with pytest.raises(FormatError, match="damaged"):
        edgeinfer.load(tmp_path / "style.so")


def test_bundle_for_another_cpu_is_not_loaded(style_bundle, monkeypatch):
    monkeypatch.setattr("edgeinfer.runtime.bundle.available_levels", lambda: ["other"])
    with pytest.raises(KernelError, match=f"exported for {HOST.replace('+', '[+]')}; this machine can run other"):
        edgeinfer.load(style_bundle / "multistyle26.so")


def test_missing_bundle_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"cannot read .*none.so"):
        edgeinfer.load(tmp_path / "none.so")


def model_file(folder: Path, nodes: list[onnx.NodeProto], outputs: list[str]) -> Path:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_open_dimensions_are_named(capsys, tmp_path):
    assert main(["export", str(MODEL), "--target", HOST, "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "'image' is float32[1x3xhxw]: give --shape image=" in error
    assert "style_weights" not in error


def test_unknown_target_lists_the_known_ones(capsys, tmp_path):
    assert main(["export", str(MODEL), "--target", "z80", "-o", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert all(name in error for name in ("z80", *TARGETS))


def test_steps_without_kernels_are_all_listed_with_reasons(capsys, tmp_path):
    nodes = [
        helper.make_node("CumSum", ["x", "axis"], ["a"], "running_sum"),
        helper.make_node("CumSum", ["square", "axis"], ["b"], "second_sum"),
        helper.make_node("Constant", [], ["axis"], value_int=1),
        helper.make_node("MatMul", ["x", "turned"], ["square"], "product"),
        helper.make_node("Transpose", ["x"], ["turned"], "turn"),
    ]
    path = model_file(tmp_path, [nodes[index] for index in (2, 0, 4, 3, 1)], ["a", "b"])
    arguments = ["export", str(path), "--target", HOST, "--shape", "x=4x4", "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    for text in ("running_sum", "second_sum", "there is no kernel for"):
        assert text in error
    assert "product" not in error


@pytest.mark.parametrize("name", ["1st", "a-b", "ä", "a b"])
def test_names_must_be_names_of_c(capsys, tmp_path, name):
    assert main(["export", str(MODEL), "--target", HOST, "--name", name, "-o", str(tmp_path)]) == 2
    assert "is no name for C" in capsys.readouterr().err
