"""The .edge file: round trips, the safetensors package, mapping, and writing safely."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from edgeinfer.errors import FormatError, GraphError
from edgeinfer.format import read_edge, write_edge
from edgeinfer.graph import DType, Graph, Node, TensorType, verify

MAPS_AHEAD = sys.platform == "linux" and tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (5, 14)
DTYPES = [
    "float32",
    "float16",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
]


def assert_same_value(left, right):
    if isinstance(left, Graph):
        assert_same_graph(left, right)
    elif isinstance(left, np.ndarray):
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        np.testing.assert_array_equal(left, right)
    else:
        assert left == right
        assert type(left) is type(right)


def assert_same_graph(left, right):
    for field in ("name", "inputs", "outputs", "types", "metadata"):
        assert getattr(left, field) == getattr(right, field)
    assert list(left.constants) == list(right.constants)
    for name, array in left.constants.items():
        assert_same_value(array, right.constants[name])
    assert len(left.nodes) == len(right.nodes)
    for one, other in zip(left.nodes, right.nodes, strict=True):
        for field in ("op", "domain", "name", "inputs", "outputs"):
            assert getattr(one, field) == getattr(other, field)
        assert list(one.attributes) == list(other.attributes)
        for key, value in one.attributes.items():
            assert_same_value(value, other.attributes[key])


@pytest.mark.parametrize("kind", [str, Path, Path.read_bytes])
def test_round_trip_keeps_everything(tmp_path, small_graph, kind):
    path = tmp_path / "a.edge"
    write_edge(small_graph, path)
    read = read_edge(kind(path), verify=True)
    verify(read)
    assert_same_graph(read, small_graph)


def test_graph_save_writes_the_file(tmp_path, small_graph, edge_bytes):
    small_graph.save(tmp_path / "saved.edge")
    assert (tmp_path / "saved.edge").read_bytes() == edge_bytes


def test_same_graph_gives_same_bytes_after_reading(tmp_path, edge_bytes):
    write_edge(read_edge(edge_bytes), tmp_path / "again.edge")
    assert (tmp_path / "again.edge").read_bytes() == edge_bytes


def test_safetensors_package_opens_it(tmp_path, edge_bytes, small_graph):
    path = tmp_path / "c.edge"
    path.write_bytes(edge_bytes)
    with safe_open(path, "np") as opened:
        assert opened.metadata()["format"] == "edgeinfer"
        assert json.loads(opened.metadata()["graph"])["name"] == "small"
        for name in ("w", "low", "half", "flags"):
            np.testing.assert_array_equal(opened.get_tensor(name), small_graph.constants[name])
        np.testing.assert_array_equal(opened.get_tensor("1/body/w"), [0, 1, 2])


def test_safetensors_file_of_someone_else_is_refused(tmp_path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(FormatError, match="holds no edgeinfer model"):
        read_edge(tmp_path / "other.safetensors")


def test_tensors_start_on_64_byte_boundaries(edge_bytes):
    length = int.from_bytes(edge_bytes[:8], "little")
    header = json.loads(edge_bytes[8 : 8 + length])
    assert (8 + length) % 64 == 0
    starts = [entry["data_offsets"][0] for name, entry in header.items() if not name.startswith("__")]
    assert len(starts) == 7
    assert all(start % 64 == 0 for start in starts)


@pytest.mark.skipif(not MAPS_AHEAD, reason="Linux maps pages ahead from 5.14 on")
def test_a_file_read_ahead_is_mapped_whole(tmp_path):
    weights = np.random.default_rng(0).random(1 << 20, np.float32)
    types = {"x": TensorType(DType.FLOAT32, weights.shape), "w": TensorType(DType.FLOAT32, weights.shape)}
    graph = Graph("large", ["x"], ["y"], [Node("Add", ["x", "w"], ["y"])], types, {"w": weights})
    path = tmp_path / "large.edge"
    write_edge(graph, path)

    def mapped_bytes() -> int:
        parts = Path("/proc/self/smaps").read_text().split(str(path))[1:]
        return sum(1024 * int(re.search(r"Rss:\s+(\d+) kB", part)[1]) for part in parts)

    lazily = read_edge(path)
    assert mapped_bytes() < weights.nbytes / 2
    del lazily
    ahead = read_edge(path, ahead=True)
    assert mapped_bytes() >= weights.nbytes
    np.testing.assert_array_equal(ahead.constants["w"], weights)


def test_constants_are_read_only_views_of_the_mapped_file(tmp_path, edge_bytes):
    path = tmp_path / "d.edge"
    path.write_bytes(edge_bytes)
    weights = read_edge(path).constants["w"]
    assert not weights.flags.owndata
    assert weights.ctypes.data % 64 == 0
    assert not weights.flags.writeable
    mapped = Path("/proc/self/maps").read_text()
    assert str(path) in mapped


def test_float16_weights_halve_the_file(tmp_path):
    sizes = {}
    for dtype in (np.float32, np.float16):
        graph = Graph("g", ["x"], ["x"], types={"x": TensorType(DType.FLOAT32, (2,))})
        graph.add_constant("w", np.ones((100, 1000), dtype))
        write_edge(graph, tmp_path / "m.edge")
        sizes[dtype] = (tmp_path / "m.edge").stat().st_size
    assert 0.5 <= sizes[np.float16] / sizes[np.float32] < 0.51


def test_names_that_the_container_needs_are_free_for_constants(tmp_path):
    graph = Graph("g", ["x"], ["x"], types={"x": TensorType(DType.FLOAT32, (2,))})
    for number, name in enumerate(["__metadata__", "__padding_0__", "tensor/__metadata__", "data", "größe"]):
        graph.add_constant(name, np.full(3, number, np.int8))
    write_edge(graph, tmp_path / "names.edge")
    assert_same_graph(read_edge(tmp_path / "names.edge"), graph)
    assert len(load_file(tmp_path / "names.edge")) == 10


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SCALARS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    array = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape).astype(draw(st.sampled_from(DTYPES)))
    return array.T if draw(st.booleans()) else array


@st.composite
def graphs(draw, depth=0):
    name = draw(NAMES)
    graph = Graph(draw(NAMES), [name], [name], metadata=draw(st.dictionaries(NAMES, NAMES, max_size=2)))
    shape = draw(st.one_of(st.none(), st.lists(st.one_of(st.integers(0, 9), NAMES), max_size=4).map(tuple)))
    graph.types[name] = TensorType(draw(st.sampled_from(DType)), shape)
    for stem in draw(st.lists(NAMES, max_size=3)):
        graph.add_constant(stem, draw(tensors()))
    values = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), tensors(), *([graphs(depth + 1)] if depth < 2 else []))
    for number in range(draw(st.integers(0, 3))):
        output = graph.fresh_name(draw(NAMES))
        attributes = draw(st.dictionaries(NAMES, values, max_size=3))
        inputs = draw(st.lists(st.sampled_from(["", *graph.value_names()]), max_size=3))
        graph.nodes.append(Node(draw(NAMES), inputs, [output, ""], attributes, f"{number}", draw(NAMES)))
        graph.outputs.append(output)
    return graph


@settings(max_examples=150, deadline=None)
@given(graph=graphs())
def test_any_graph_round_trips(tmp_path_factory, graph):
    path = tmp_path_factory.getbasetemp() / "any.edge"
    write_edge(graph, path)
    assert_same_graph(read_edge(path, verify=True), graph)
    assert load_file(path).keys() >= {name for name in graph.constants if not name.startswith("__")}


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"cannot read .*nowhere.edge: No such file"):
        read_edge(tmp_path / "nowhere.edge")


def test_folder_is_no_model(tmp_path):
    with pytest.raises(FormatError, match=r"cannot read .*: Is a directory"):
        read_edge(tmp_path)


def test_missing_folder_is_named_and_nothing_is_left(tmp_path, small_graph):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    for folder, reason in ((blocked, "Not a directory"), (tmp_path / "missing", "No such file or directory")):
        with pytest.raises(FormatError, match=f"cannot write {folder}/model.edge: {reason}"):
            write_edge(small_graph, folder / "model.edge")
    assert os.listdir(tmp_path) == ["file"]


def test_folders_and_devices_are_not_overwritten(tmp_path, small_graph):
    for place in (tmp_path, Path("/dev/null")):
        with pytest.raises(FormatError, match="it exists and is no regular file"):
            write_edge(small_graph, place)
    assert Path("/dev/null").is_char_device()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file_and_leaves_no_other(tmp_path, small_graph, monkeypatch, failing):
    path = tmp_path / "model.edge"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(FormatError, match="No space left on device"):
        write_edge(small_graph, path)
    assert os.listdir(tmp_path) == ["model.edge"]
    assert path.read_bytes() == b"old"


def test_interrupted_writing_leaves_no_file(tmp_path, small_graph, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_edge(small_graph, tmp_path / "model.edge")
    assert os.listdir(tmp_path) == []


def test_permissions_follow_the_umask(tmp_path, small_graph):
    before = os.umask(0o077)
    try:
        write_edge(small_graph, tmp_path / "private.edge")
    finally:
        os.umask(before)
    assert (tmp_path / "private.edge").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_stored_is_named(tmp_path, small_graph):
    small_graph.nodes[0].attributes["odd"] = {1, 2}
    with pytest.raises(FormatError, match=r"attribute 'odd' of Conv 'conv' holds a value of type set"):
        write_edge(small_graph, tmp_path / "a.edge")
    del small_graph.nodes[0].attributes["odd"]
    small_graph.add_constant("words", np.array(["a"], object))
    with pytest.raises(FormatError, match="tensor 'words' holds texts"):
        write_edge(small_graph, tmp_path / "a.edge")
    del small_graph.constants["words"]
    small_graph.add_constant("waves", np.zeros(3, np.complex64))
    with pytest.raises(FormatError, match="dtype complex64 cannot be stored"):
        write_edge(small_graph, tmp_path / "a.edge")
    assert os.listdir(tmp_path) == []


def test_graph_that_breaks_the_rules_is_not_written(tmp_path, small_graph):
    small_graph.outputs.append("nothing")
    with pytest.raises(GraphError, match="output 'nothing' is not defined"):
        write_edge(small_graph, tmp_path / "a.edge")
    assert os.listdir(tmp_path) == []
