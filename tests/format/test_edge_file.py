"""The .edge file: round trips, the safetensors package, and damage of every kind."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from edgeinfer.errors import FormatError
from edgeinfer.format import read_edge, write_edge
from edgeinfer.format.container import header_bytes
from edgeinfer.graph import DType, Graph, Node, TensorType, verify
from edgeinfer.ops import run_graph


def small_graph() -> Graph:
    body = Graph("body", [], ["c"], [Node("Neg", ["x"], ["c"], {}, "n")], {}, {})
    graph = Graph(
        "small",
        ["x"],
        ["y"],
        [
            Node("Conv", ["x", "w"], ["t"], {"strides": [2, 2], "group": 1}, "conv"),
            Node("Clip", ["t", "low"], ["y"], {}, "clip"),
        ],
        {"x": TensorType(DType.FLOAT32, (1, 3, "h", "w"))},
        metadata={"licence": "Apache-2.0"},
    )
    graph.add_constant("w", np.random.default_rng(0).standard_normal((5, 3, 3, 3), np.float32))
    graph.add_constant("low", np.float32(-0.5).reshape(()))
    graph.add_constant("half", np.arange(7, dtype=np.float16))
    graph.nodes[1].attributes["note"] = [1.5, float("inf"), 3]
    graph.nodes[1].attributes["table"] = np.arange(4, dtype=np.int64)
    graph.nodes[1].attributes["body"] = body
    return graph


@pytest.fixture(scope="module")
def file_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("edge") / "small.edge"
    write_edge(small_graph(), path)
    return path.read_bytes()


def test_round_trip_keeps_everything(tmp_path):
    graph = small_graph()
    write_edge(graph, tmp_path / "a.edge")
    read = read_edge(tmp_path / "a.edge", verify_data=True)
    verify(read)
    assert (read.name, read.inputs, read.outputs, read.types, read.metadata) == (
        graph.name, graph.inputs, graph.outputs, graph.types, graph.metadata,
    )  # fmt: skip
    assert read.constants.keys() == graph.constants.keys()
    for name, array in graph.constants.items():
        assert read.constants[name].dtype == array.dtype
        np.testing.assert_array_equal(read.constants[name], array)
    for left, right in zip(read.nodes, graph.nodes, strict=True):
        assert (left.op, left.domain, left.name, left.inputs, left.outputs) == (
            right.op, right.domain, right.name, right.inputs, right.outputs,
        )  # fmt: skip
    attributes = read.nodes[1].attributes
    assert attributes["note"] == [1.5, float("inf"), 3]
    np.testing.assert_array_equal(attributes["table"], np.arange(4))
    assert [node.op for node in attributes["body"].nodes] == ["Neg"]


def test_same_graph_gives_same_bytes(tmp_path, file_bytes):
    write_edge(small_graph(), tmp_path / "b.edge")
    assert (tmp_path / "b.edge").read_bytes() == file_bytes


def test_safetensors_package_opens_it(tmp_path, file_bytes):
    (tmp_path / "c.edge").write_bytes(file_bytes)
    tensors = load_file(tmp_path / "c.edge")
    np.testing.assert_array_equal(tensors["w"], small_graph().constants["w"])


def test_tensors_start_on_64_byte_boundaries(file_bytes):
    text = header_bytes(memoryview(file_bytes))
    header = json.loads(text)
    assert (8 + len(text)) % 64 == 0
    starts = [e["data_offsets"][0] for n, e in header.items() if not n.startswith("__")]
    assert starts
    assert all(start % 64 == 0 for start in starts)


def test_constants_are_views_of_the_file(tmp_path, file_bytes):
    (tmp_path / "d.edge").write_bytes(file_bytes)
    weights = read_edge(tmp_path / "d.edge").constants["w"]
    assert not weights.flags.owndata
    assert not weights.flags.writeable


@settings(max_examples=2000, deadline=None)
@given(data=st.data())
def test_damage_in_the_header_is_found(file_bytes, data):
    end = 8 + len(header_bytes(memoryview(file_bytes)))
    place = data.draw(st.integers(0, end - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != file_bytes[place]))
    damaged = bytearray(file_bytes)
    damaged[place] = value
    try:
        graph = read_edge(bytes(damaged))
    except FormatError:
        return
    # White space for white space changes nothing that the header says.
    assert {value, file_bytes[place]} <= set(b" \t\r\n")
    assert list(graph.constants) == list(small_graph().constants)


@settings(max_examples=1000, deadline=None)
@given(data=st.data())
def test_a_cut_anywhere_is_found(file_bytes, data):
    with pytest.raises(FormatError):
        read_edge(file_bytes[: data.draw(st.integers(0, len(file_bytes) - 1))])


def test_damage_in_the_data_is_found_on_demand(file_bytes):
    damaged = bytearray(file_bytes)
    damaged[-100] ^= 1
    end = 8 + len(header_bytes(memoryview(file_bytes)))
    first = bytearray(file_bytes)
    first[end] ^= 1
    with pytest.raises(FormatError, match="checksum"):
        read_edge(bytes(first), verify_data=True)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "8-byte length"),
        (b"PK\x03\x04 not a model at all", "not an .edge file"),
        ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
        ((2).to_bytes(8, "little") + b"{}", "no edgeinfer model"),
        ((9).to_bytes(8, "little") + b'{"a":NaN}', "not JSON"),
        ((13).to_bytes(8, "little") + b'{"a":1,"a":2}', "twice"),
        ((200000).to_bytes(8, "little") + b"[" * 200000, "not valid JSON"),
    ],
)
def test_other_files_give_a_reason(contents, message):
    with pytest.raises(FormatError, match=message):
        read_edge(contents)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match="nowhere.edge"):
        read_edge(tmp_path / "nowhere.edge")


def test_unwritable_folder_is_named_and_nothing_is_left(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(FormatError, match="cannot write into"):
        write_edge(small_graph(), blocked / "model.edge")
    assert os.listdir(tmp_path) == ["file"]


@settings(max_examples=50, deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    dtype=st.sampled_from(["float32", "float16", "int8", "uint8", "int64", "bool", "float64"]),
)
def test_constants_of_any_shape_round_trip(tmp_path_factory, shape, dtype):
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    graph = Graph("g", ["x"], ["y"], [Node("Identity", ["x"], ["y"], {}, "i")])
    graph.types["x"] = TensorType(DType.FLOAT32, (2,))
    graph.add_constant("c", array)
    path = tmp_path_factory.mktemp("any") / "m.edge"
    write_edge(graph, path)
    read = read_edge(path)
    np.testing.assert_array_equal(read.constants["c"], array)
    assert read.constants["c"].shape == array.shape
    x = np.ones(2, np.float32)
    np.testing.assert_array_equal(run_graph(read, {"x": x})["y"], x)
